"""The section `clean` of params.yaml: one class a rule, in the order in which the rules are applied. null is off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clew.params_section import Count, Name, Section, Share

Fate = Literal["drop", "downweight", "review"]
"""What happens to a row that a rule finds: it goes, weighs less in the loss, or stays until a person has decided."""


FORMS = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "UK_NHS", "USER_NAME")
"""Kinds of personal data that clew knows by their form, without a model."""


class Objective(Section):
    """What the model is for: relevance is judged by it."""

    description: Annotated[str, Field(pattern=r"\S")]
    """A few sentences."""
    examples: tuple[str, ...]
    """Texts as the model will see them; may be empty."""


class TfidfFeatures(Section):
    """Texts as numbers without a model: tf-idf of words, reduced by a singular value decomposition (LSA)."""

    kind: Literal["tfidf"]
    dimensions: Count


class EncoderFeatures(Section):
    """A sentence encoder's mean-pooled, normalised embeddings, kept by content: a second run embeds only new texts."""

    kind: Literal["encoder"]
    source: Name
    """A name under fetch_data.sources whose files are the encoder (config.json, model.safetensors, tokenizer)."""
    batch_size: Count
    max_length: Count


class GivenFeatures(Section):
    """Embeddings that you made: a parquet file with the columns text_sha256 and embedding (a list of floats)."""

    kind: Literal["given"]
    source: Name
    """A name under fetch_data.sources."""
    file: str


Features = Annotated[TfidfFeatures | EncoderFeatures | GivenFeatures, Field(discriminator="kind")]


class Impute(Section):
    """An empty field is filled: with `value`, or with what is most frequent among the rows of its task and source."""

    impute: Literal["constant", "most_frequent"]
    value: str | None

    @model_validator(mode="after")
    def _value(self) -> Impute:
        if (self.impute == "constant") != (self.value is not None):
            raise ValueError("`value` goes with `impute: constant`, and is null otherwise")
        return self


class MissingRule(Section):
    """Empty fields: `drop` the row, `fail` the stage, or impute a value.

    Of a row with choices `label` counts, of others `completion`.
    """

    text: Literal["drop", "fail"]
    completion: Literal["drop", "fail"] | Impute
    label: Literal["drop", "fail"] | Impute


class HygieneRule(Section):
    """Damaged encodings (ftfy), control characters and, if asked, markup."""

    action: Literal["fix", "drop", "downweight", "review"]
    markup: bool
    """Whether tags and entities of HTML count as damage (a fix takes them off)."""


class LengthRule(Section):
    """Texts of too few or too many words."""

    action: Fate
    min_words: Count
    max_words: Count


class LanguageRule(Section):
    """Texts in another language than the expected ones. Short texts are not judged."""

    action: Fate
    expected: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...]
    """ISO 639-1 codes."""
    threshold: Share
    """Found where the probability of the expected languages together is below this."""
    min_words: Count
    """Texts with fewer words are not judged."""


class RepetitionRule(Section):
    """Text or answer that repeats itself."""

    action: Fate
    threshold: Share
    """Found where more than this share of the words stands in phrases that came before (repeated 4-grams)."""


class RefusalRule(Section):
    """Written answers that refuse or are boiler-plate (`As an AI language model …`)."""

    action: Fate
    phrases: tuple[Annotated[str, Field(min_length=1)], ...]
    """More phrases, beside those that are built in; case does not matter."""


class TruncatedRule(Section):
    """Written answers that break off."""

    action: Fate


class PersonalDataRule(Section):
    """Names, e-mail addresses, phone numbers and the like. fix: masked as <EMAIL_ADDRESS>."""

    action: Literal["fix", "drop", "review"]
    entities: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds to look for: those of FORMS, and with a recogniser what it knows (PERSON, LOCATION, …)."""
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None
    """ISO 3166-1 code: phone numbers without a + are read as this country's. null: only those with a +."""
    recogniser: Name | None
    """A name under fetch_data.sources: a token classifier's folder (config.json, model.safetensors, tokenizer)."""
    threshold: Share
    """Found where it is at least this sure."""

    @model_validator(mode="after")
    def _entities(self) -> PersonalDataRule:
        others = [entity for entity in self.entities if entity not in FORMS]
        if others and not self.recogniser:
            raise ValueError(
                f"no form tells {', '.join(others)} (but {', '.join(FORMS)}): set `recogniser` to a source "
                "under fetch_data.sources that is a token classifier which knows it, or take it out of `entities`"
            )
        return self


class ToxicityRule(Section):
    """Texts and answers that a classifier calls toxic."""

    action: Fate
    classifier: Name
    """A name under fetch_data.sources whose files are a text classifier (config.json, model.safetensors, tokenizer)."""
    label: str
    """The class of the classifier that counts as toxic."""
    threshold: Share
    batch_size: Count
    max_length: Count
    """Tokens; the rest of a text is not read."""


class ContradictionsRule(Section):
    """The same text with different labels within a task: none can be trusted."""

    action: Fate


class DuplicatesRule(Section):
    """The same normalised text within a task: all but the first."""

    action: Fate


class NearDuplicatesRule(Section):
    """Nearly the same text within a task (MinHash): all but the first of a cluster. The split keeps clusters whole."""

    action: Literal["drop", "downweight", "review", "keep"]
    threshold: Annotated[float, Field(gt=0, lt=1)]
    """Jaccard similarity of the texts' shingles."""
    shingle: Count
    """Words a shingle."""
    permutations: Annotated[int, Field(ge=16)]


class RelevanceRule(Section):
    """Texts far from `objective`."""

    action: Fate
    tasks: tuple[Name, ...]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    """Found where the cosine to the nearest of the objective's description and examples is below this."""


class MismatchRule(Section):
    """Written answers that do not fit their question: those with the lowest cosine between the two."""

    action: Fate
    tasks: tuple[Name, ...]
    share: Share
    """Of each task's rows: at most this many are found …"""
    threshold: Annotated[float, Field(ge=-1, le=1)]
    """… and only where the cosine is below this."""


class OutliersRule(Section):
    """Texts unlike all others of their task, and those nearly the same as an earlier one by their embeddings
    (cleanlab's Datalab, over a given graph of nearest neighbours)."""

    action: Fate
    near_duplicates: Fate | None
    """What the later ones of near duplicates meet; null only counts them."""
    tasks: tuple[Name, ...]
    neighbours: Count
    threshold: Annotated[float, Field(gt=0, le=1)]
    """Datalab's (its default: 0.37). Found where the mean distance to the neighbours is beyond Q3 + (1 / threshold - 1)
    times the interquartile range of all the task's."""


class AnnotatorsRule(Section):
    """Rows that several people labelled (cleanlab.multiannotator): the label becomes their consensus, by quality."""

    tasks: tuple[Name, ...]
    folds: Annotated[int, Field(ge=2)]
    threshold: Share
    """Consensus of a lower quality than this …"""
    otherwise: Fate
    """… meets this fate."""


class LabelNoiseRule(Section):
    """Labels that confident learning doubts (cleanlab, cross-validated probabilities)."""

    tasks: tuple[Name, ...]
    folds: Annotated[int, Field(ge=2)]
    threshold: Share
    """Doubted are those that confident learning finds and whose own label has a probability below this."""
    min_accuracy: Share
    """They are dropped where the cross-validated classifier is at least this accurate against right labels (estimated
    from the given ones, see clean.json) …"""
    otherwise: Literal["downweight", "review"]
    """… and meet this fate below it."""


class TokenLabelsRule(Section):
    """Tokens whose tag confident learning doubts (cleanlab.token_classification), for tasks of kind `tags`."""

    tasks: tuple[Name, ...]
    folds: Annotated[int, Field(ge=2)]
    threshold: Share
    """Found are sentences with a doubted token whose own tag has a probability below this."""
    min_accuracy: Share
    otherwise: Literal["downweight", "review"]


class PreferencesRule(Section):
    """Preference pairs whose chosen answer is probably the worse one: `chosen` as a noisy label."""

    tasks: tuple[Name, ...]
    folds: Annotated[int, Field(ge=2)]
    threshold: Share
    min_accuracy: Share
    otherwise: Literal["downweight", "review"]


class Clean(Section):
    """Rows that would teach nothing, or teach wrong, are mended, weigh less, go to review or are dropped."""

    objective: Objective | None
    features: Features
    downweight: Share
    """The weight in the loss that `downweight` multiplies a row's with."""
    missing: MissingRule | None
    hygiene: HygieneRule | None
    length: LengthRule | None
    language: LanguageRule | None
    repetition: RepetitionRule | None
    refusal: RefusalRule | None
    truncated: TruncatedRule | None
    personal_data: PersonalDataRule | None
    toxicity: ToxicityRule | None
    contradictions: ContradictionsRule | None
    duplicates: DuplicatesRule | None
    near_duplicates: NearDuplicatesRule | None
    relevance: RelevanceRule | None
    mismatch: MismatchRule | None
    outliers: OutliersRule | None
    annotators: AnnotatorsRule | None
    label_noise: LabelNoiseRule | None
    token_labels: TokenLabelsRule | None
    preferences: PreferencesRule | None
