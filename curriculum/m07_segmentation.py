# ---
# jupyter:
#   ai4diag:
#     id: m07
#     title: "Segmentation: from patches to millimetres"
#     badge: Builder
#     ambitions: [services, skills]
#     minutes: 150
#     sections:
#       Story: 10
#       The plan: 20
#       Patches: 27
#       Windows: 30
#       The same grid: 22
#       Dice and millimetres: 30
#       Key points: 3
#       Quiz: 8
#     needs: [m06]
#     gpu: optional
#     objectives:
#       - explain which settings of a segmentation the data decide, and which the recipe
#       - calculate a size that a network can halve, and where a training patch begins
#       - make sliding windows that cover every voxel, and choose their size
#       - show that a label map lies on the grid of its image
#       - compute Dice per case, and HD95 in millimetres with voxels of unequal sides
#       - decide on release by the lower limit of the interval
#     data: [msd_hippocampus]
#     pipelines: [hippocampus]
#     runs: [hippocampus --quick]
# ---

# %%
import copy
import dataclasses

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial import KDTree

from ai4diag import lab
from ai4diag.course import check, start
from ai4diag.data import grid
from ai4diag.data.volume import Volume, moved_mm, read_volume, write_nifti
from ai4diag.evaluation.overlap import confusion, dice
from ai4diag.evaluation.surface import surface_distances
from ai4diag.masks import decode
from ai4diag.pipelines.predict import model_of
from ai4diag.pipelines.stages import open_prepared
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tasks.segmentation.windows import weights

here = start("m07")
here

# %% [markdown]
# ## Story
#
# **Elif, 58**, forgets appointments. Her memory clinic measures the volume of her hippocampus in an MR image each
# year: a healthy one shrinks by about one hundredth a year, in Alzheimer's disease by several. Drawing it by hand
# takes a reader half an hour, so it is rarely done. A company offers a service: image in, outline of the front and
# the back part out, on the grid of the image, as a draft that the reader corrects.
#
# What does a small fault cost? A hippocampus is small, so that nearly all of it is surface. The next cell takes the
# expert's mask of one person and moves its border by a single voxel, 1 mm, outwards or inwards.

# %%
run = lab.run("hippocampus --quick")
tested = run.predictions[run.predictions["part"] == "test"]
line = tested.iloc[0]
truth = decode(line["truth_runs"], line["shape"])
for name, mask in [("inwards", binary_erosion(truth > 0)), ("outwards", binary_dilation(truth > 0))]:
    print(f"border 1 mm {name}: volume {mask.sum() / (truth > 0).sum() - 1:+.0%}")

# %% [markdown]
# One voxel of border is worth years of disease. A constant fault would cancel when the same service measures Elif
# each year; one that depends on the scanner, on the position of the head, or on the software's version does not. And
# a label map that is right but lies two slices too high makes the reader correct everything: the service then costs
# time.

# %% [markdown] tags=["trainer"]
# **10 minutes.** Let the room guess the percentages before the cell is run; most say 5 to 10 %. Pair engineers with
# people from clinics: the clinician says what she would do with a draft that is wrong by so much.
#
# Before the session: `ai4diag course catch-up m07` makes the supplied checkpoint (`hippocampus --quick`: one to two
# minutes on two cores). All else needs the checkpoint alone. Those with a GPU may run the full pipeline over lunch.

# %% [markdown]
# ## The plan
#
# How large a patch, how many stages, which spacing? Such settings used to be found by trying. nnU-Net (Isensee, 2021)
# showed that most follow from the data by a few rules; ai4diag does the same and *says* what it decided. `(recipe)`
# marks what `pipeline.yaml` fixes instead.

# %%
# !ai4diag plan hippocampus --quick

# %% [markdown]
# Read it from the top. The data give spacing, size and how rare the classes are. From these follows a **U-Net**: on
# its way down it halves the picture stage by stage and sees more and more context, on its way up it returns to full
# detail, and bridges carry fine detail across. `halved` says which axes shrink between stages. Where voxels are long
# in one direction, that axis is halved later, so that voxels become cubes first: such a line reads `1 x 2 x 2`.
#
# A network that halves an axis three times needs a number of voxels that can be halved three times. Other sizes are
# filled up with the mean.
#
# ### Exercise: a size that can be halved
#
# Define `padded(sides, strides)`. `sides` are three numbers of voxels. `strides` is a list with one entry for each
# stage after the first, three numbers each: by how much that stage shrinks each axis (1 or 2). Return a list of three
# whole numbers: the smallest sides, none below `sides`, that the network can take.


# %% tags=["exercise:m07.padded"]
def padded(sides, strides):
    """Return the smallest sides that can be shrunk by all strides."""
    # --- solution
    steps = np.prod(strides, axis=0)
    return [int(-(-side // step) * step) for side, step in zip(sides, steps, strict=True)]
    # --- end


# %% [markdown] tags=["trainer"]
# **20 minutes**: 10 talk over the printed plan, 10 exercise. Ask what would change for CT of the lung (0.7 × 0.7 × 5
# mm): spacing, patch, strides of 1 across the slices at first, and `intensities: absolute`, since HU mean something
# (lesson 3).
#
# **Misconception:** "The plan is chosen on the test part." **Say:** It follows from the *training* cases, before any
# training. Change the recipe and the line says `(recipe)`: nobody can later claim that the data decided it.

# %% [markdown]
# ## Patches
#
# A hippocampus crop fits into memory. A whole head of 256 × 256 × 200 voxels does not: a training step keeps dozens of
# copies of it. So training looks at **patches**. Where should they be cut? The cell below puts one hippocampus into an
# empty head and cuts patches anywhere.

# %%
head = np.zeros((160, 192, 160), np.uint8)
head[50 : 50 + truth.shape[0], 80 : 80 + truth.shape[1], 60 : 60 + truth.shape[2]] = truth
patch = np.array([32, 48, 32])
rng = np.random.default_rng(7)
anywhere = rng.integers(0, np.array(head.shape) - patch + 1, (2000, 3))


def holds(starts):
    """Share of patches with at least 50 voxels of the hippocampus."""
    return np.mean([(head[tuple(map(slice, at, at + patch))] > 0).sum() >= 50 for at in starts])


print(f"hippocampus in the head: {np.mean(head > 0):.3%} of the voxels")
print(f"patches cut anywhere that show it: {holds(anywhere):.1%}")

# %% [markdown]
# Most steps would learn that there is nothing. So the recipe has `model.foreground`: that share of patches is cut
# *around a voxel of a class*, the others anywhere, so that the network also sees where nothing is. With 0 it seldom sees
# a hippocampus; with 1 it never sees a patch without one, and may find some where there is none.
#
# ### Exercise: a patch around a voxel
#
# Define `start_around(voxel, patch, sides)`: three lists of three whole numbers; `patch` is nowhere larger than
# `sides`. Return the first voxel of the patch along each axis, so that the patch lies in the volume as a whole and
# has the voxel as near to its middle as that allows. (For an even side, the middle may be either of the two voxels.)


# %% tags=["exercise:m07.patch"]
def start_around(voxel, patch, sides):
    """Return the first voxel of a patch around a voxel."""
    # --- solution
    wanted = np.array(voxel) - np.array(patch) // 2
    return np.clip(wanted, 0, np.array(sides) - np.array(patch)).tolist()
    # --- end


# %%
voxels = np.argwhere(head > 0)
around = [start_around(voxel.tolist(), patch.tolist(), head.shape) for voxel in rng.choice(voxels, 500)]
if around[0] is not None and around[0] is not ...:
    print(f"patches around a voxel of the hippocampus that show it: {holds(np.array(around)):.1%}")

# %% [markdown]
# What the size of a patch does can be tried: the next cell trains the quick variant with patches of half the sides.
# It takes two or three minutes, and is skipped in the fast mode. **Compare on the validation part**: the test part is
# for the end, and every look at it is counted.


# %%
def validation_dice(a_run):
    """Mean Dice of the two parts on the validation cases of a run."""
    rows = a_run.predictions.query("part == 'validation'")
    pairs = [(decode(row.truth_runs, row.shape), decode(row.runs, row.shape)) for row in rows.itertuples()]
    return np.mean([dice(confusion(truth, answer, 3))[1:].mean() for truth, answer in pairs])


print(f"supplied checkpoint: Dice {validation_dice(run):.3f} on validation")
if not here.fast:
    small = lab.execute("hippocampus", quick=True, changes=["model.patch=[16, 24, 16]", "model.window=[16, 24, 16]"])
    print(f"small patches and windows: Dice {validation_dice(small):.3f} on validation")

# %% [markdown] tags=["trainer"]
# **27 minutes**: 10 talk, 10 exercise, 7 for the run. Let it run while you ask: *which is better, and why?* A small
# patch hides where in the hippocampus one is: the border between front and back is a matter of context.
#
# **Misconception:** "More patches per volume mean more data." **Say:** Patches of one patient are not independent. The
# split is by patient, and so is the interval; the number of patches appears in neither.
#
# **Misconception:** "All patches should show the structure, the rest is a waste." **Say:** Then it never learned what
# *nothing* looks like. Ask what the service would do in a whole head.

# %% [markdown]
# ## Windows
#
# In prediction the whole volume must be answered. Where it is larger than one pass allows, a **window** slides over it.
# Windows overlap, because a network is worst at the edge of what it sees; where several answer, a mean is taken that
# trusts the middle of each window most.

# %%
trust = weights((48,)).numpy()
figure, axes = plt.subplots(figsize=(7, 2.6))
for first, style in [(0, "-"), (24, "--"), (48, ":")]:
    axes.plot(np.arange(48) + first, trust, style, color="black", label=f"window that begins at {first}")
axes.set(xlabel="voxel", ylabel="weight", title="How much each window is trusted (window 48, overlap 0.5)")
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.tight_layout()

# %% [markdown]
# Each curve is highest in the middle of its window; where one falls, the next one rises.
#
# ### Exercise: where windows begin
#
# Define `starts(side, window, overlap)`: where the windows begin along one axis of `side` voxels. `window` is their
# number of voxels, `overlap` the share (0 to below 1) by which neighbours overlap at least. Return a list of whole
# numbers, increasing. Every voxel is covered, no window reaches beyond the volume (where `side` is not above
# `window`, one window at 0 does), neighbours begin at most `max(1, int(window * (1 - overlap)))` voxels apart, and
# there are no more windows than that takes.


# %% tags=["exercise:m07.windows"]
def starts(side, window, overlap):
    """Return the first voxels of the windows along an axis."""
    # --- solution
    if side <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(side - window) // step)  # gaps between windows, rounded up
    return [round(number * (side - window) / count) for number in range(count + 1)]
    # --- end


# %% [markdown]
# How large should the window be? Any that memory allows, one would think. The next cell asks the supplied model with
# three windows, and with the whole volume at once, about cases of the validation part. Nothing is trained;
# `pipeline.yaml` would say `model.window`.

# %%
pipeline = Workspace(here.root).pipeline("hippocampus", quick=True)
prepared, learner = open_prepared(pipeline), model_of(pipeline).learners[0]
chosen = prepared.split.query("part == 'validation'")["case_id"][: 1 if here.fast else 6]
rows = np.flatnonzero(prepared.index["case_id"].isin(chosen))
for window in [(16, 24, 16), (24, 32, 24), (32, 48, 32), None]:
    other = copy.copy(learner)
    other.plan = dataclasses.replace(learner.plan, window=window)
    name = "whole volume" if window is None else " x ".join(map(str, window))
    print(f"{name:>13}: Dice {other.score(prepared, rows)['score']:.3f}")

# %% [markdown]
# The model learned from patches of 32 × 48 × 32. Windows of that size suit it best: it normalises what it sees by
# mean and spread *of what it sees*, so that a smaller window, or more margin, is another world. That is why the
# window belongs to the model, is written into the bundle, and is no setting of the user.

# %% [markdown] tags=["trainer"]
# **30 minutes**: 10 talk, 14 exercise, 6 for the table. The classic fault is `range(0, side - window + 1, step)`:
# with 100, 40, 0.5 it happens to be right, with 105 the last five voxels get no answer. Tell nobody before the check
# does.
#
# **Misconception:** "A larger window is always at least as good: more context." **Say:** Look at the last line of the
# table. Prediction must look like training.

# %% [markdown]
# ## The same grid
#
# A label map is of use only where it lies on the image it was made for: same number of voxels, same place in the
# patient. Here is a file as a partner may send it: slices of 2.5 mm, axes in another order and direction. The patient
# is one of the test part, so that we have the expert's mask, which is brought to the same grid.


# %%
def as_partner(volume, resample):
    """Return a volume with layers of 2.5 mm, its axes to the left, to the foot and to the front."""
    affine, sides = grid.finer(volume.affine, volume.array.shape[1:], (1.0, 1.0, 2.5))
    array = resample(volume.array, grid.places(affine, sides, volume.affine))
    order, reverse = [0, 2, 1], [0, 1]  # right, head, front; then the first two reversed
    array, affine = array.transpose(0, 1, 3, 2), affine[:, [*order, 3]]
    for axis in reverse:
        affine[:3, 3] += affine[:3, axis] * (array.shape[1 + axis] - 1)
        affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(np.flip(array, [1 + axis for axis in reverse])), affine)


raw, case = here.root / "data" / "msd_hippocampus", line["case_id"]
image = as_partner(read_volume(raw / "images" / f"{case}.nii.gz"), grid.linear)
expert = as_partner(read_volume(raw / "labels" / f"{case}.nii.gz"), lambda mask, at: grid.labels(mask, at, 3))
write_nifti(here.folder / "partner.nii.gz", image.array, like=image)
print("axes:", image.orientation, "  voxels:", image.array.shape[1:], "  spacing in mm:", np.round(image.spacing_mm, 2))

# %%
# !ai4diag predict hippocampus --quick work/m07/partner.nii.gz --out work/m07/answer

# %% [markdown]
# `ai4diag predict` takes the model of the run's **bundle** when the release gate was met, and says so when there is
# none. It turned the axes, resampled to 1 mm, slid the window, and brought *shares of classes* (not labels, which
# would become ragged) back to the file's own grid.
#
# ### Exercise: does it lie there?
#
# Define `lies_on(image, answer)`: two volumes, as `read_volume` returns them. Return True when they have the same
# number of voxels along each axis, and no corner voxel of the one lies 0.1 mm or more from that of the other; else
# False. Numbers of voxels are `volume.array.shape[1:]`; `moved_mm(affine, other_affine, sides)` is the
# largest distance, in mm, between corners of equal index.


# %% tags=["exercise:m07.grid"]
def lies_on(image, answer):
    """Whether voxels of equal index lie in one place."""
    # --- solution
    sides = image.array.shape[1:]
    return bool(answer.array.shape[1:] == sides and moved_mm(image.affine, answer.affine, sides) < 0.1)
    # --- end


# %%
answer = read_volume(here.folder / "answer" / "partner.nii.gz")
print("the answer lies on the partner's image:", lies_on(image, answer))
print("it lies on the original of the case:", lies_on(read_volume(raw / "images" / f"{case}.nii.gz"), answer))
middle = int(np.argmax((expert.array[0] > 0).sum(axis=(1, 2))))
figure, axes = plt.subplots(figsize=(6, 3))
aspect = image.spacing_mm[2] / image.spacing_mm[1]
axes.imshow(image.array[0, middle].T, cmap="gray", origin="lower", aspect=aspect)
axes.contour(expert.array[0, middle].T > 0, levels=[0.5], colors="white", linewidths=2)
axes.contour(answer.array[0, middle].T > 0, levels=[0.5], colors="black", linewidths=2, linestyles="dashed")
axes.set(title="whole hippocampus: expert (white), model (black, dashed)", xlabel="j (2.5 mm, to foot)", ylabel="k (1 mm, to front)")
figure.tight_layout()

# %% [markdown]
# The two outlines nearly coincide; where they part, it is by a voxel or two.

# %% [markdown] tags=["trainer"]
# **22 minutes**: 8 talk, 8 exercise, 6 to look. Whoever is done opens `answer/predictions.json` and reads which model
# answered. Ask: *what does a viewer do with a label map whose affine is wrong?* It draws it somewhere, without a word.
#
# **Misconception:** "Equal shapes are the same grid." **Say:** A reversed axis has the same shape (lesson 3).

# %% [markdown]
# ## Dice and millimetres
#
# The run keeps truth and answer of every test case. **Dice** is twice the overlap over the sum of both sizes: 1 is
# perfect. The **background is left out**: it is 95 % of the voxels and nearly always right.

# %%
lab.case("hippocampus --quick", case)

# %% [markdown]
# ### Exercise: Dice per case, and the gate
#
# Define two things.
#
# - `scores`: a dict from `case_id` to Dice, for the cases of `tested` (the test part): the mean over the front part
#   (class 1) and the back part (class 2). `decode(row.runs, row.shape)` is the model's label map,
#   `decode(row.truth_runs, row.shape)` the expert's; `confusion(truth, answer, 3)` counts, and `dice(counts)` gives one
#   number per class, the background first.
# - `releases(estimate, floor)`: whether a model may be released. `estimate` has `value`, `low` and `high` (the 95 %
#   interval over patients). The **lower limit** must reach the floor.

# %% tags=["exercise:m07.dice"]
scores = {}
for row in tested.itertuples():
    # --- solution
    counts = confusion(decode(row.truth_runs, row.shape), decode(row.runs, row.shape), 3)
    scores[row.case_id] = float(dice(counts)[1:].mean())
    # --- end


def releases(estimate, floor):
    """Whether the lower limit reaches the floor."""
    # --- solution
    return bool(estimate.low >= floor)
    # --- end


# %%
floor = run.record.plan.accept["dice_low"]
print(run["dice"], "  floor:", floor, "  released:", releases(run["dice"], floor))
print(sorted(scores, key=scores.get)[:3], "have the lowest Dice")

# %% [markdown]
# The floor of the quick variant is low: it only proves that the pipeline works. The pipeline itself asks for far more
# (`accept` in `pipeline.yaml`), and trains twenty times as long.
#
# Dice has two blind spots. It forgives small structures nothing and large ones much, and it does not say *where* the
# fault is: an even border error and one far island may have the same Dice. So a distance belongs beside it. **HD95**:
# for each voxel of the one surface, how far is the nearest of the other, in mm? Take the 95th percentile, in both
# directions, and the larger of the two. The plain maximum (Hausdorff) would hang on a single voxel. Other programs put
# the distances of both directions together before they take the percentile, or find another surface: say which, and
# never compare figures of two programs.
#
# ### Exercise: HD95
#
# Define `hd95_mm(truth_surface, answer_surface, spacing_mm)`. The surfaces are arrays `(n, 3)` and `(m, 3)` of voxel
# indices (i, j, k); `spacing_mm` is the length of a voxel along i, j, k. Return a number in mm; `nan` when a surface
# has no voxels. `KDTree(points).query(others)[0]` gives the distance of each of `others` to the nearest of `points`;
# `np.percentile(distances, 95)` is the percentile.


# %% tags=["exercise:m07.hd95"]
def hd95_mm(truth_surface, answer_surface, spacing_mm):
    """Return the 95th percentile of the distances between two surfaces, the larger direction, in mm."""
    # --- solution
    if not len(truth_surface) or not len(answer_surface):
        return float("nan")
    a, b = np.array(truth_surface) * np.array(spacing_mm), np.array(answer_surface) * np.array(spacing_mm)
    there, back = KDTree(b).query(a)[0], KDTree(a).query(b)[0]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))
    # --- end


# %%
def surface(mask):
    """Voxel indices of the surface of a mask: those of which a face neighbour lies outside."""
    return np.argwhere(mask & ~binary_erosion(mask))


a, b = expert.array[0] > 0, answer.array[0] > 0
print("ai4diag on the partner's grid:", round(surface_distances(a, b, image.spacing_mm).hausdorff(), 3), "mm")
print("yours:                        ", hd95_mm(surface(a), surface(b), image.spacing_mm), "mm")
print("with spacing forgotten:       ", hd95_mm(surface(a), surface(b), (1, 1, 1)), "voxels, which means nothing")

# %% [markdown] tags=["trainer"]
# **30 minutes**: 10 talk, 8 and 9 for the exercises, 3 to compare. Let pairs of different companies name a service in
# which Dice matters more (a volume) and one in which HD95 does (a border near a nerve).
#
# **Misconception:** "Dice 0.8 means that 80 % of the voxels are right." **Say:** With the background, accuracy is
# far above 90 % for any model; Dice leaves the background out.
#
# **Misconception:** "The estimate is above the floor, so we release." **Say:** With 21 patients the next 21 may be
# worse. The gate asks the lower limit.

# %% [markdown]
# ## Key points
#
# - `ai4diag plan` says what the data decided and what the recipe fixed. It looks at training cases alone.
# - Patches: a share around the structure, the rest anywhere. They add no patients.
# - Windows cover every voxel, overlap, and have the size of the training patch: prediction must look like training.
# - A label map lies on the grid of its image, number of voxels *and* affine, or it is of no use.
# - Dice without the background, HD95 in millimetres, each with an interval over patients; the lower limit decides.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
