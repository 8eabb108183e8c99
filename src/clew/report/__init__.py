"""The page that people read, the card that travels with the model, and the record of machines beside them."""
