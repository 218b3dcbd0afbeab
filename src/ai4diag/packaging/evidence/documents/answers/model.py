"""How the model was made, on what, and how it can be made again."""

from __future__ import annotations

from ai4diag.evaluation.report import words
from ai4diag.packaging.evidence.documents.figures import said
from ai4diag.packaging.evidence.documents.pointers import (
    ENVIRONMENT,
    ESTIMATES,
    MANIFEST,
    PLAN,
    PREDICTIONS,
    SBOM,
    VERIFICATION,
    Pointer,
)
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip, settings


def network(run: Run) -> Answer:
    """The kind of model with its settings."""
    model = run.recipe["model"]
    own = settings({key: value for key, value in model.items() if key != "network"})
    text = f"Network {model['network']}{f' ({own})' if own else ''}. Files bound by SHA-256. {_in_code(run)}"
    return Answer(text, (*run.of_record("recipe", "model"), *run.of_record("model")), whole=run.settled)


def training(run: Run) -> Answer:
    """How it was trained."""
    train, network = run.recipe["train"], run.recipe["model"]["network"]
    rate = f"learning rate {train['learning_rate']:g}"
    text = {
        "cox": f"At most {train['epochs']} steps of Newton's method on all cases at once",
        "gradient_boosting": f"At most {train['epochs']} rounds of boosting, {rate}",
    }.get(network, f"At most {train['epochs']} epochs, batches of {train['batch_size']}, {rate} ({train['schedule']})")
    text += f", learned from {' and '.join(train['parts'])}, seed {train['seed']}. "
    augment = train.get("augment") or ()
    text += f"Random changes of the training cases: {', '.join(augment)}." if augment else "No random changes of cases."
    text += f" Every other setting is in the recipe, defaults included. {_in_code(run)}"
    curve = run.report("training") if run.context.training else ()
    return Answer(text, (*run.of_record("recipe", "train"), *curve), whole=run.settled)


def selection(run: Run) -> Answer:
    """How the kept model was chosen, and how often the test part was looked at."""
    train = run.recipe["train"]
    if run.recipe["model"]["network"] == "cox":
        text = "The minimum is sought, and no step on the way to it is chosen."
    elif train.get("patience"):
        text = (
            f"Training stops after {train['patience']} epochs or rounds without gain on validation; the best are kept."
        )
    elif "validation" in train["parts"]:
        text = "No epoch is chosen on validation: the model learned from it too."
    else:
        text = "No epoch is chosen by patience."
    at = run.of_record("recipe", "train")
    look = run.context.look
    if look:
        text += f" The ledger counts this as look {look} at this test part; looks outside of it nobody counted."
        at += run.of_context("look")
    told = run.told("chosen", "chose ", "tuned", "looked at", "cross-validat", titles=("Trained on",))
    return Answer(f"{text} {told.text}", (*at, *told.at), whole=False) if told else Answer(text, at, whole=False)


def initial_weights(run: Run) -> Answer:
    """Where the weights began."""
    weights = run.recipe["model"].get("weights")
    seed = run.recipe["train"]["seed"]
    text = f"Pretrained weights: {weights}." if weights else "The recipe names no pretrained weights."
    text += f" Seed {seed} decides what is drawn. {_in_code(run)}"
    return Answer(text, run.of_record("recipe", "train", "seed"), whole=run.settled)


def ensemble(run: Run) -> Answer | Skip:
    """Whether several models answer together."""
    members = int(run.recipe["model"].get("members") or 1)
    variant = str(run.record.get("variant", ""))
    if members > 1:
        text = f"{members} models, differing in their seeds, whose answers are averaged."
        return Answer(text, run.of_record("recipe", "model", "members"))
    if "seeds" in variant:
        return Answer(f"Variant {variant}: the answers of several seeds are joined.", run.of_record("variant"))
    return Skip("One model answers alone.")


def software(run: Run) -> Answer:
    """Versions of everything that was installed."""
    count = len(run.facts.environment.split())
    python = run.bound.get("python", "")
    text = f"ai4diag {run.context.version}"
    text += f", Python {python}" if python else ""
    text += f"; every one of {count} installed packages is listed with its version." if count else "."
    listed = (Pointer(ENVIRONMENT), Pointer(SBOM)) if count else ()
    return Answer(text, (*listed, *_bound(run)))


def hardware(run: Run) -> Answer | None:
    """On which machine."""
    if not run.bound:
        return None
    names = ("cpu_model", "cpus", "gpu", "platform")
    given = {name: run.bound[name] for name in names if run.bound.get(name)}
    given = {name: value for name, value in given.items() if value != "torch not loaded"}
    known = [f"{name.replace('_', ' ')} {value}" for name, value in given.items()]
    stage = "Trained" if run.record.get("trained") else "Evaluated (the machine of the training is not recorded)"
    return Answer(f"{stage} on {'; '.join(known)}.", _bound(run), whole=bool(run.record.get("trained")))


def balance(run: Run) -> Answer | Skip:
    """Whether classes were weighted or drawn unequally."""
    by = run.recipe["train"].get("balance", "none")
    weighted = run.recipe["model"].get("balanced", False)
    if by == "none" and not weighted:
        return Skip("The recipe uses no method against imbalance of classes.")
    how = [f"cases are drawn so that each {by} comes equally often"] if by != "none" else []
    how += ["every class weighs the same in the loss"] if weighted else []
    text = f"In training, {' and '.join(how)}."
    return Answer(text, (*run.of_record("recipe", "train"), *run.of_record("recipe", "model")), ask=("imbalance",))


def how_predicted(run: Run) -> Answer:
    """How the predictions were computed."""
    command = str(run.record.get("words") or run.name)
    by = "By the kept model"
    if run.context.folds:
        by = "By the models of the folds, each for cases that it had not learned from, and none by the kept model"
    text = f"{by}: ai4diag train {command}; ai4diag evaluate {command}. Files are bound by SHA-256."
    return Answer(text, (*run.of_record("words"), *run.of_record("model"), *run.of_record("files")))


def bound_to(run: Run) -> Answer | None:
    """Commit, data and environment."""
    if not run.bound.get("git_commit"):
        return None
    stage = "training" if run.record.get("trained") else "evaluation (that of the training is not recorded)"
    named = {"data_sha256": "data", "environment_sha256": "environment", "dvc_lock_sha256": "lock file"}
    hashed = [name for key, name in named.items() if len(run.bound.get(key, "")) == 64]
    text = f"Commit of the {stage}: {run.bound['git_commit']}."
    text += f" Bound by SHA-256: {', '.join(hashed)}." if hashed else ""
    if run.dirty:
        text += " Files that are not in the commit were present, so that the commit alone does not settle what ran."
    return Answer(text, _bound(run), whole=run.settled)


def code(run: Run) -> Answer | None:
    """Which code made the numbers."""
    known = bound_to(run)
    return known and Answer(f"{known.text} Where the repository can be had is not recorded.", known.at, whole=False)


def updating(run: Run) -> Answer | Skip:
    """Whether the model was changed after it was evaluated."""
    found = [(i, item) for i, item in run.estimates() if "recalibrat" in item.name]
    if not found:
        return Skip("The model was not changed after its evaluation.")
    text = "What recalibration on validation would give was estimated; the kept model is as it was trained."
    shown = "; ".join(said(item, run.level) for _, item in found)
    return Answer(f"{text} {shown}.", tuple(Pointer(ESTIMATES, (i,)) for i, _ in found))


def internal(run: Run) -> Answer:
    """How internal data were used for testing."""
    folds = run.context.folds
    text = (
        f"{words.counted(run.headline.n, 'case')}, each tested once in one of {folds} folds by a model that had not "
        "learned from it."
        if folds
        else f"A test part of {words.counted(run.headline.n, 'case')} from which the model had not learned."
    )
    return Answer(text, (*run.of_record("recipe", "data", "split"), *run.report("estimates")))


def verified(run: Run) -> Answer:
    """What verifications found: the run made again from its commit."""
    if not run.facts.verdicts:
        text = "No verification is recorded: whether the run comes out again from its commit is not known."
        return Answer(text, run.of_record("run_id"), whole=False)
    last = run.facts.verdicts[-1]
    when, verdict = last.get("when", "an unknown time"), last.get("verdict", "no verdict")
    text = f"Made again from its commit, at {when}: {verdict}."
    if last.get("reason"):
        text += f" {last['reason']}"
    at = (Pointer(VERIFICATION, (len(run.facts.verdicts) - 1,)),)
    return Answer(text, at, whole=last.get("verdict") == "holds")


def stored(run: Run) -> Answer:
    """What is kept for an audit."""
    text = (
        "The predictions are in the pack, cases and patients replaced by numbers; every estimate can be computed again "
        "from them. The record binds predictions, estimates, report and model files by SHA-256."
    )
    return Answer(text, (Pointer(PREDICTIONS), Pointer(PLAN), *run.of_record("files"), *run.of_record("model")))


def integrity(run: Run) -> Answer:
    """What protects what is stored against change."""
    text = "Every file of the pack is bound by its SHA-256. That says nothing on the security of a product in use."
    return Answer(text, (Pointer(MANIFEST), *run.of_record("model")), whole=False)


def _in_code(run: Run) -> str:
    if run.settled:
        return "What a recipe does not say is in the code of the recorded commit."
    return "What a recipe does not say is in the code; which code ran is not settled by one commit, see the record."


def _bound(run: Run) -> tuple[Pointer, ...]:
    return run.of_record("trained") or run.of_record("evaluated")
