# ---
# jupyter:
#   ai4diag:
#     id: m06
#     title: Image classification, trained and doubted
#     badge: Builder
#     ambitions: [services, skills]
#     minutes: 120
#     sections:
#       Story: 10
#       From a picture to numbers: 15
#       Training that leaves a record: 25
#       Interrupt and resume: 20
#       Where does the answer come from?: 20
#       A test for explanations: 15
#       Key points: 5
#       Quiz: 10
#     needs: [m03, m04]
#     gpu: optional
#     objectives:
#       - "prepare pictures for a network with figures that come from the training part alone"
#       - "read the curve of a training and find its run"
#       - "fine-tune given weights with changed settings, and say where the weights come from"
#       - "resume an interrupted training in the same run, and show that it counted on"
#       - "compute an occlusion map, and test whether a map depends on what a network has learned"
#     data: [pneumoniamnist_reconstructed]
#     pipelines: [chest-xray]
#     runs: ["chest-xray --quick"]
# ---

# %%
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from ai4diag import lab
from ai4diag.course import check, start

here = start("m06")
here

# %% [markdown]
# ## Story
#
# Amara is three. She has had a fever for four days, and breathes fast. It is Saturday night in a small hospital; the chest
# X-ray is taken at once, but the radiologist on call reads from home, for five hospitals, in the order in which pictures
# come in. Amara's is the thirty-first.
#
# A service could look at every new picture and move the ones that look like pneumonia to the front of the list. Nothing
# more: the radiologist still reads all of them.
#
# - **A missed pneumonia** stays where it was in the list. Amara waits, as she would without the service; but people who
#   trust the order may stop looking further down.
# - **A false alarm** takes the place of another child. With many of them the order means nothing.
#
# The head of the ward asks two things before she agrees. *"How often is it right, on pictures like ours?"* You know how to
# answer that from the lesson on metrics. And: *"When it says pneumonia, what does it look at?"* This lesson answers the
# second question with care, because pictures that look like an answer are easy to make.
#
# The pictures here have 28 x 28 pixels. That is enough to learn how the work is done, and far too little for a child.

# %% [markdown] tags=["trainer"]
# **Timing (10 min).** Let the room name what a wrong answer costs before they read on. Ask who has waited in a queue that
# an algorithm ordered.
#
# **Discussion:** Is "moved to the front" a diagnosis? (It changes who is treated when: a clinician and a regulator will
# both say that it matters.)
#
# **Before the day:** `ai4diag course catch-up m06` must have run on every machine: it trains `chest-xray --quick`, which
# takes one to two minutes on two cores.

# %% [markdown]
# ## From a picture to numbers
#
# `ai4diag prepare` has read the raw file, checked it, divided it as its publisher did, and packed it. These are the cases
# that the finished run of `chest-xray --quick` has learned from and was tested on.

# %%
from ai4diag.pipelines import stages
from ai4diag.pipelines.workspace import Workspace

pipeline = Workspace(here.root).pipeline("chest-xray", quick=True)
prepared = stages.open_prepared(pipeline)
fold = prepared.folds()[-1]
pd.DataFrame(
    {
        "part": ["train", "validation", "test"],
        "pictures": [len(rows) for rows in (fold.train, fold.validation, fold.test)],
        "share with pneumonia": [
            prepared.index["truth"].iloc[rows].mean().round(3) for rows in (fold.train, fold.validation, fold.test)
        ],
    }
)

# %% [markdown]
# One of them, with its truth and what the model answered (`lab.cases("chest-xray --quick")` lists all):

# %%
lab.case("chest-xray --quick", "test-00001")

# %% [markdown]
# And some side by side. The upper row is normal, the lower one shows pneumonia: fuller, whiter lungs, if you can see it at all at
# this size. The scale beside each picture goes from 0 (black) to 255 (white).

# %%
figure, axes = plt.subplots(2, 5, figsize=(10, 4.4), layout="constrained")
for truth, line in enumerate(axes):
    rows = [row for row in fold.test if prepared.index["truth"].iloc[row] == truth][:5]
    for row, axis in zip(rows, line, strict=True):
        shown = axis.imshow(prepared.images[row, 0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{prepared.classes[truth]}, {prepared.index['case_id'].iloc[row]}", fontsize=9)
        axis.set_xticks([0, 14, 27])
        axis.set_yticks([0, 14, 27])
figure.colorbar(shown, ax=axes, label="grey value, 0 to 255")
figure.supxlabel("column, pixels")
figure.supylabel("row, pixels")
plt.show()

# %% [markdown]
# A network learns best from numbers around 0. So each picture is shifted and scaled: minus a mean, divided by a spread (the
# standard deviation). **Both are learned from the training pictures, once,** and stay with the model. If every picture got
# a mean of its own, a picture that is bright *because the lungs are full* would look like any other. If test pictures took
# part in the mean, the test would no longer be a test.
#
# ### Exercise: bring pictures to the scale of the training part
#
# Write a function `normalise(train, images)`. Both are arrays of grey values from 0 to 255, of shape (pictures, rows,
# columns). Return `images`, minus the mean of all pixels of `train`, divided by the standard deviation of all pixels of
# `train` (one mean and one spread for everything; `np.std` as it is).

# %% tags=["exercise:m06.normalise"]
def normalise(train, images):
    # --- solution
    return (images - train.mean()) / train.std()
    # --- learner
    # # return the pictures, around 0
    # ...
    # --- end


# %% [markdown]
# The pipeline did the same. The mean and the spread that it keeps beside its weights are those of the training part:

# %%
from ai4diag.files import read_json

model = read_json(pipeline.out / "model" / "model.json")
of_train = prepared.images[fold.train]
print(f"kept with the model:        mean {model['mean'][0]:.2f}, spread {model['spread'][0]:.2f}")
print(f"from the training pictures: mean {of_train.mean():.2f}, spread {of_train.std():.2f}")
print(f"from the test pictures:     mean {prepared.images[fold.test].mean():.2f} (not used; another population)")

# %% [markdown] tags=["trainer"]
# **Timing (15 min).** Five minutes of looking and talk, ten for the exercise.
#
# **Misconception:** "Each picture should be normalised by itself, so that brightness does not matter." **Say:** sometimes
# that is a choice on purpose, when exposure differs by machine. Here brightness may carry the disease, and the check draws
# new pictures that are brighter than the training pictures, to show what is lost.
#
# **Watch for:** `images.mean()` in the denominator or numerator by habit; integer division; dividing by 255 and stopping.

# %% [markdown]
# ## Training that leaves a record
#
# `ai4diag run chest-xray --quick` was run before this lesson. It left a run: what was computed, from which data, with
# which settings, on which machine, and every curve. This is it:

# %%
run = lab.run("chest-xray --quick")
run

# %% [markdown]
# The curve of its training is in `history.json`, and in MLflow under the same run id (open the MLflow tile, experiment
# `chest-xray`). One entry per epoch, that is one pass over all training pictures; the validation part is looked at only in
# some of them.

# %%
epochs = read_json(pipeline.out / "history.json")[-1]["epochs"]
looked = [epoch for epoch in epochs if epoch["validation"]]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot([epoch["epoch"] for epoch in epochs], [epoch["loss"] for epoch in epochs], "o-", color="black")
left.set(xlabel="epoch", ylabel="loss on training pictures (no unit)", ylim=(0, None))
right.plot([e["epoch"] for e in looked], [e["validation"]["auroc"] for e in looked], "s--", color="black")
right.axhline(run["auroc"].value, color="gray")
right.annotate("test part", (looked[0]["epoch"], run["auroc"].value), va="bottom", color="gray")
right.set(xlabel="epoch", ylabel="AUROC (no unit)", ylim=(0.9, 1), xlim=(0, len(epochs) + 1))
plt.show()

# %% [markdown]
# Left: the loss falls from epoch to epoch. Right: the area under the ROC curve on the validation part (squares), and the
# figure on the test part (grey line). The line lies below the squares: the test part is another population, as the
# pipeline's README says. Which of the two would you tell the head of the ward?
#
# ### Exercise: read the curve of a training
#
# Write a function `read_curve(epochs)`. It gets such a list, each entry a mapping with `epoch` (a number from 1) and
# `validation` (a mapping with `score`, higher is better; empty in epochs without validation). Return a mapping with
#
# - `best`: the epoch with the highest score; the first of equal ones; `None` when no epoch was validated,
# - `looks`: how many epochs were validated,
# - `still_better`: whether the last validated epoch is the best one (`False` when there is none). If it is, longer training
#   may help.

# %% tags=["exercise:m06.curve"]
def read_curve(epochs):
    # --- solution
    looked = [epoch for epoch in epochs if epoch["validation"]]
    if not looked:
        return {"best": None, "looks": 0, "still_better": False}
    best = max(looked, key=lambda epoch: epoch["validation"]["score"])
    return {"best": best["epoch"], "looks": len(looked), "still_better": best is looked[-1]}
    # --- learner
    # # which epoch is the best?
    # ...
    # --- end


# %%
print(read_curve(epochs))

# %% [markdown]
# Companies seldom train from nothing. They take weights that others, or they themselves, trained before, and go on with
# their own pictures: **fine-tuning**. Small steps, few epochs: large steps would undo what was learned.
#
# Weights bring their past with them. Before you take somebody's, ask: what may I do with them (licence)? From which
# pictures did they learn, and **are our test pictures among those**? Here the weights come from our own finished run, which
# learned from the training part alone. So this shows how it is done, without a download; it is no gain from other data.
#
# ### Exercise: settings for fine-tuning
#
# Define `changes`, a list of texts such as `"train.seed=8"`, each a setting of the recipe
# (`pipelines/chest-xray/pipeline.yaml`; all settings are in [the reference](../docs/reference/pipeline.md)):
#
# - `model.weights`: the file `pipelines/chest-xray/out/quick/model/model.safetensors`, counted from the repository's folder,
# - `train.epochs`: 2 to 4 (each takes some ten seconds on two cores),
# - `train.learning_rate`: at most a third of the recipe's,
# - `train.warmup_epochs`: at most half of the epochs.

# %% tags=["exercise:m06.finetune"]
# --- solution
changes = [
    "model.weights=pipelines/chest-xray/out/quick/model/model.safetensors",
    f"train.epochs={2 if here.fast else 4}",
    "train.learning_rate=0.0005",
    "train.warmup_epochs=0.5",
]
if here.fast:  # where nobody waits for a better model: smaller pictures, a quarter of the work
    changes.append("data.image_size=[14, 14]")
# --- learner
# changes = ["train.epochs=4"]  # four settings are needed
# --- end

# %% [markdown] tags=["trainer"]
# **Timing (25 min).** Ten minutes on the run and its curve, with the MLflow tile open on the projector; two exercises of
# seven minutes each.
#
# **Misconception:** "The validation figure is the result, it is higher." **Say:** validation was used to choose; the test
# part is another population and was set apart. The ward is a third population, and nobody has measured there yet.
#
# **Misconception:** "Pretrained weights are neutral." **Say:** they carry their training data, with its hospital, its age
# group and its licence. If test pictures were in it, every figure is flattered and nobody can see it from the weights.
#
# **Pair** learners from different companies here: one of them has usually used ImageNet weights in a product. Let them
# say what they know about the licence.

# %% [markdown]
# ## Interrupt and resume
#
# Laptops fall asleep, machines are taken away, somebody presses ■. A training must survive that. The network writes a
# *checkpoint*: everything that is needed to go on. Usually every ten seconds; here after each epoch, so that you need not
# wait.
#
# The next cell starts the fine-tuning with your `changes`, and **presses ■ for you** as soon as the first checkpoint is on
# disk. (Afterwards, try it by hand: run the cell after it, and press ■ yourself.)

# %%
# %env AI4DIAG_CHECKPOINT_SECONDS=0

# %%
import threading
import time
from _thread import interrupt_main


def press_stop_when_saved(folder, began):
    """Press ■ as soon as a checkpoint is there that is newer than `began`."""
    while time.time() < began + 600:
        if any(path.stat().st_mtime > began for path in folder.glob("*/checkpoint/*.safetensors")):
            return interrupt_main()
        time.sleep(0.2)


threading.Thread(target=press_stop_when_saved, args=(pipeline.out.parent, time.time()), daemon=True).start()
try:
    lab.execute("chest-xray", quick=True, changes=changes)
except KeyboardInterrupt as stopped_words:
    print(stopped_words)

# %% [markdown]
# What is left of it? A run that is marked as killed, and a checkpoint. Open it: a checkpoint is a file of numbers and plain
# facts, and nothing in it can run.

# %%
from ai4diag.training.checkpoint import read_checkpoint

stopped = lab.runs("chest-xray").runs[0]
print(f"run {stopped.run_id[:8]}: {stopped.status}")
newest = max(pipeline.out.parent.glob("*/checkpoint/*.safetensors"), key=lambda path: path.stat().st_mtime)
tensors, saved = read_checkpoint(newest)
kinds = pd.Series([name.split(".")[0] for name in tensors]).value_counts()
print(f"checkpoint after epoch {saved['epoch']}, with {len(tensors)} arrays of numbers:")
print(kinds.to_string())

# %% [markdown]
# `network` are the weights. `average` is their running mean, which is what is kept in the end. `optimizer` is the memory of
# the optimizer: without it the next steps would be other ones. `random` are the states of the random numbers: without them
# the pictures would come in another order, with other augmentations. All of it together is why, on a CPU, a training that
# was resumed ends with **the same bits** as one that was never killed.
#
# ### Exercise: interrupt and resume
#
# 1. Write a function `first_step(epoch, cases, batch_size)`: the number (counted from 1 at the very beginning) of the first
#    step after a checkpoint that was written after `epoch` epochs. In every epoch all `cases` are seen once, in batches of at
#    most `batch_size`.
# 2. Take the training up again: `resumed = lab.execute(...)`, with the very same words as above. The bar says after which
#    epoch it goes on.
#
# `stopped` and `saved` are defined by the cell above; leave them as they are.

# %% tags=["exercise:m06.resume"]
def first_step(epoch, cases, batch_size):
    # --- solution
    return epoch * -(-cases // batch_size) + 1
    # --- learner
    # ...
    # --- end


# --- solution
resumed = lab.execute("chest-xray", quick=True, changes=changes)
print(f"went on with step {first_step(saved['epoch'], len(fold.train), 128)}, in run {resumed.record.run_id[:8]}")
# --- learner
# # resumed = ...
# --- end

# %% [markdown]
# Did fine-tuning help? Put both runs side by side. The intervals say how far such a difference can be chance. And whoever
# picks the better of the two now has used the test part to choose: every such look flatters a little, so the record
# counts the looks.

# %%
for name, each in {"from nothing": run, "fine-tuned": resumed}.items():
    print(f"{name:<13} {each['auroc']}")

# %% [markdown] tags=["trainer"]
# **Timing (20 min).** The first part of the training takes about 20 s, the second up to a minute (longer when thirty
# laptops share one socket). Talk about the checkpoint meanwhile. Who is done presses ■ by hand, on the same cell, twice.
#
# **Misconception:** "To resume, I load the weights and train again." **Say:** that loses the optimizer's memory, the
# learning rate's place, the order of the pictures and the step count. It is fine-tuning, not resuming; the results differ.
#
# **Watch for:** changing `changes` between the two halves. That is another recipe, so a new run begins at epoch 1; the
# check says so. It is the right behaviour, and worth a minute of talk.
#
# **If a training finishes before ■ was pressed** (a very fast machine): set `train.epochs=4` and run the two cells again.

# %% [markdown]
# ## Where does the answer come from?
#
# *"When it says pneumonia, what does it look at?"* One honest way to ask is to take something away and see what changes:
# **occlusion**. Cover a patch of the picture, ask the network again, and note by how much its score falls. A patch whose
# covering lowers the score spoke for pneumonia.
#
# First the trained network, as a function from pictures to scores. The score is the *logit*: 0 means undecided, above 0
# pneumonia, below 0 normal.

# %%
import torch

from ai4diag.tasks import task

learner = task("classification").load(pipeline.out / "model")


def scorer(network):
    """Return a function: pictures (n, rows, columns), grey values from 0 to 255, to n scores."""

    def score(images):
        pictures = torch.from_numpy(np.asarray(images, np.float32))[:, None]
        with torch.inference_mode():
            return network((pictures - learner.mean.item()) / learner.spread.item()).mean(0)[:, 0].numpy()

    return score


trained = scorer(learner.network)
answers = run.predictions.query("part == 'test' and truth == 1").sort_values("score")
chosen = answers["case_id"].iloc[-40 :: 10 if here.fast else 5]
rows = prepared.index.index[prepared.index["case_id"].isin(chosen)]
pictures = prepared.images[rows, 0].astype(np.float64)
print("scores of the chosen pictures:", trained(pictures).round(2))

# %% [markdown]
# ### Exercise: where does the answer come from? Cover it and see
#
# Write a function `occlusion(score, image, size, fill)`.
#
# - `score` is a function as above: it takes pictures of shape (n, rows, columns) and returns n numbers.
# - `image` has the shape (rows, columns); both are multiples of `size`.
# - Divide the picture into patches of `size` x `size` pixels that do not overlap. For each of them, cover **it alone** with the
#   grey value `fill`.
# - Return an array of shape (rows / size, columns / size): the score of the whole picture **minus** the score of the covered
#   one. Leave `image` itself unchanged.

# %% tags=["exercise:m06.occlusion"]
def occlusion(score, image, size, fill):
    # --- solution
    covered = []
    for row in range(0, image.shape[0], size):
        for column in range(0, image.shape[1], size):
            copy = image.copy()
            copy[row : row + size, column : column + size] = fill
            covered.append(copy)
    fall = score(image[None])[0] - score(np.stack(covered))
    return fall.reshape(image.shape[0] // size, image.shape[1] // size)
    # --- learner
    # # cover each patch on a copy, and see how far the score falls
    # ...
    # --- end


# %% [markdown]
# The same for real pictures, with patches of 4 x 4 pixels and the mean grey of the training part. Dark patches spoke for
# pneumonia, light ones against it; the number in a patch is the fall of the score.

# %%
def draw(axis, values, title):
    reach = np.abs(values).max()
    axis.imshow(values, cmap="gray_r", vmin=-reach, vmax=reach)
    for (row, column), value in np.ndenumerate(values):
        if abs(value) > 0.4 * reach:
            colour = "white" if value > 0 else "black"
            axis.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_title(title, fontsize=9)
    axis.set_xlabel("patch, from the left")


figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained")
for number in range(2):
    left, right = axes[2 * number : 2 * number + 2]
    left.imshow(pictures[number], cmap="gray", vmin=0, vmax=255)
    left.set_title(f"picture {number + 1}", fontsize=9)
    left.set_xlabel("column, pixels")
    draw(right, occlusion(trained, pictures[number], 4, learner.mean.item()), "fall of the score when covered")
axes[0].set_ylabel("row, pixels")
axes[1].set_ylabel("patch, from the top")
plt.show()

# %% [markdown] tags=["trainer"]
# **Timing (20 min).** Ten minutes of talk with the figure, ten for the exercise.
#
# **Watch for:** covering the picture itself (`covered = image` without `.copy()`): the patches pile up and the map is wrong
# from the second patch on. The check looks at the picture afterwards. Also the sign: whole minus covered.
#
# **Discussion:** what would change with `fill=0`, or `fill=255`? (Try it: a black or white square is a new thing in the
# picture, so the network also answers to *that*. No filling is neutral.)

# %% [markdown]
# ## A test for explanations
#
# The map looks like an answer. But so would many pictures. Here is a test that an explanation must pass before anybody may
# look at it: **make the same map with a network of the same build whose weights are random.** That network has learned
# nothing. If its map looks the same, then the map does not show what was learned: it explains nothing. (The test is that of
# Adebayo and others, *Sanity checks for saliency maps*, 2018. How alike is too alike, 0.5 below, is a choice of ours.)
#
# The next cell makes such networks, and a second kind of map to compare with: the *edges* of the picture, which need no
# network at all. Edge maps look convincing on X-rays: ribs, heart, diaphragm.

# %%
import copy


def untrained(network, seed):
    """Return the same network with new random weights."""
    twin = copy.deepcopy(network)
    torch.manual_seed(seed)
    for layer in twin.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return twin.eval()


random_weights = scorer(untrained(learner.network, seed=1))


def edges(score, image):
    """Return how steep the grey values are; `score` is not even asked."""
    down, right = np.gradient(image)
    return np.hypot(down, right)


# %% [markdown]
# ### Exercise: does the map depend on what was learned?
#
# 1. Write a function `explains(trained, random, limit=0.5)`. Both are arrays of maps, one per picture, of shape (pictures,
#    rows, columns). For each picture compute the **rank correlation** (Spearman) of the **absolute** values of its two maps;
#    take the mean over pictures. Return `True` when it is below `limit` (the maps differ, so they may explain), else `False`;
#    also `False` when it is undefined (NaN).
# 2. Define `maps`, a mapping with `"occlusion"` and `"edges"`, each a mapping with `"trained"` and `"random"`: the maps of all
#    `pictures` (of occlusion: patches of 4 pixels, filled with `learner.mean.item()`).
# 3. Define `verdict`, a mapping from each method to what `explains` says of it.

# %% tags=["exercise:m06.sanity"]
from scipy.stats import spearmanr


def explains(trained, random, limit=0.5):
    # --- solution
    pairs = zip(np.abs(trained), np.abs(random), strict=True)
    likeness = np.mean([spearmanr(first.ravel(), second.ravel())[0] for first, second in pairs])
    return bool(likeness < limit)
    # --- learner
    # ...
    # --- end


# --- solution
scores = {"trained": trained, "random": random_weights}
fill = learner.mean.item()
maps = {
    "occlusion": {k: np.stack([occlusion(s, one, 4, fill) for one in pictures]) for k, s in scores.items()},
    "edges": {k: np.stack([edges(s, one) for one in pictures]) for k, s in scores.items()},
}
verdict = {method: explains(pair["trained"], pair["random"]) for method, pair in maps.items()}
print(verdict)
# --- learner
# # maps = {"occlusion": {"trained": ..., "random": ...}, "edges": {"trained": ..., "random": ...}}
# # verdict = {"occlusion": ..., "edges": ...}
# --- end

# %% [markdown]
# See it: per picture the two maps of occlusion differ, the two maps of edges do not. Run the next cell when `maps` is there.

# %%
if "maps" in globals():
    figure, axes = plt.subplots(2, 5, figsize=(11, 4.6), layout="constrained")
    for line, picture in zip(axes, range(2), strict=True):
        line[0].imshow(pictures[picture], cmap="gray", vmin=0, vmax=255)
        line[0].set_title(f"picture {picture + 1}", fontsize=9)
        for axis, (method, which) in zip(
            line[1:], [(m, w) for m in ("occlusion", "edges") for w in ("trained", "random")], strict=True
        ):
            axis.imshow(np.abs(maps[method][which][picture]), cmap="gray_r")
            axis.set_title(f"{method}, {which} weights", fontsize=9)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
    figure.supxlabel("dark: the map says that this place matters")
    plt.show()

# %% [markdown]
# A map that fails is out. **A map that passes is not proven:** it has survived one test. It still depends on the patch size
# and the filling, and on which of many equally good networks you asked. It says where the score came from, not whether that
# is medicine. If a letter in the corner of the film had betrayed the hospital, a correct map would point to the letter.
#
# So what do we tell the head of the ward? What was measured: how often it is right, on which pictures, with intervals. And
# of single maps: that they are a help for us to find faults, and not a reason for her to believe the score.

# %% [markdown] tags=["trainer"]
# **Timing (15 min).** This is the heart of the lesson; do not shorten it. Show the figure on the projector and ask, before
# the verdict: which of these four maps would you put on a product's page?
#
# **Misconception:** "The map points at the lungs, so the model is right." **Say:** pictures of chests have lungs in the
# middle; a map that points to the middle is no evidence. The test with random weights is the least that one must ask.
#
# **For the fast ones:** gradients (`pictures.requires_grad_()`) are another kind of map. Do they pass? And gradient times
# picture? Other seeds of the random network?

# %% [markdown]
# ## Key points
#
# - Mean and spread are learned from the training part, like weights, and stay with the model.
# - A run keeps settings, data, curves and figures under one id; look there, not into your memory.
# - Fine-tuning goes on from given weights with small steps. Weights bring the past of their training data with them.
# - Run the same command again after a kill: the same run goes on, counts on, and ends with the same bits on a CPU.
# - A map that looks the same on random weights explains nothing. A map that differs has passed one test, no more.
# - "What does it look at?" is a question for finding faults; "how often is it right, on whom?" is the one for trust.

# %% [markdown] tags=["trainer"]
# **Timing (15 min with the quiz).** Let each pair say in one sentence what they would tell the head of the ward.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
