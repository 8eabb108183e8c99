"""Training: how rows are fed, on what device, with which trainer, and how a killed run goes on."""
