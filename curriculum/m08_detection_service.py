# ---
# jupyter:
#   ai4diag:
#     id: m08
#     title: Detection service
#     badge: Builder
#     ambitions: [services]
#     minutes: 150
#     sections:
#       Story: 10
#       Boxes that everybody reads the same: 30
#       How well does a box fit?: 20
#       One cell, one box: 20
#       How many are found, at what price?: 25
#       Labels that are missing: 30
#       Key points: 5
#       Quiz: 10
#     needs: [m06]
#     objectives:
#       - "convert boxes between formats and bring them back to pixels of the original picture"
#       - "calculate the overlap of two boxes, and remove double boxes"
#       - "read the sensitivity at one false alarm per image, for each class"
#       - "predict boxes for a new picture and check where they lie"
#       - "find pictures with missing labels, and explain what they do to false alarms"
#     data: [bccd]
#     pipelines: [blood-cells]
#     runs: ["blood-cells --quick"]
# ---

# %%
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from ai4diag import lab
from ai4diag.course import check, start

here = start("m08")
here

# %% [markdown]
# ## Story
#
# Mattis is 52 and has been tired for weeks. In the laboratory a drop of his blood is spread on glass, stained and
# photographed through the microscope. A technician, Ines, now looks for white cells, counts platelets, and decides whether a
# physician must see this smear today. She has two hundred of them.
#
# A service could draw a box around every cell it finds, so that Ines's eye goes there first. She still decides.
#
# - **A missed white cell** may be the one abnormal cell of the whole smear. She would have to look where no box is.
# - **A false box** costs her a second. Ten false boxes per field cost her trust: after a week she no longer looks at boxes.
#
# So the question is never "how good is the detector?" but "**how many cells does it find, at how many false boxes per
# field?**", and for each kind of cell by itself. And before that: do we all mean the same box?

# %% [markdown] tags=["trainer"]
# **Timing (10 min).** Let the room guess how many false boxes per field Ines would bear. Write the number on the board; it
# comes back in the section on the price.
#
# **Before the day:** `ai4diag course catch-up m08` trains `blood-cells --quick` (one to two minutes on two cores). That model
# has had four epochs and is weak on purpose: its faults are large enough to see. The full pipeline (140 epochs) has its
# figures in the README of the repository.

# %% [markdown]
# ## Boxes that everybody reads the same
#
# One field of the test part: labels are drawn solid, the model's answer of the quick run is dashed. The number at a box is its
# class, beside it stands the score of the model.

# %%
lab.case("blood-cells --quick", "BloodImage_00007")

# %% [markdown]
# Two companies exchange boxes. One writes `[193, 92, 387, 285]`, the other `[92, 193, 285, 387]`, and both mean the white
# cell above. Most faults in detection software are of this kind, and they are quiet: boxes lie *nearly* right.
#
# The convention here ([docs](../docs/concepts/boxes.md)): **`[row_min, column_min, row_max, column_max]`**, in pixels of the
# **original** picture. Rows go down, columns to the right. Edges are **continuous**: pixel 3 covers 3 to 4, so a size is
# `max - min`, with no `+ 1` anywhere.
#
# | format | a box is | unit |
# |---|---|---|
# | ours | `[row_min, column_min, row_max, column_max]` | pixels |
# | Pascal VOC | `[x_min, y_min, x_max, y_max]` | pixels |
# | COCO | `[x, y, width, height]`, the corner at the upper left and the size | pixels |
# | YOLO | `[x, y, width, height]`, the **middle** and the size | shares of width and height of the picture |
#
# `x` counts columns, `y` counts rows. (The first Pascal VOC files counted pixels from 1 and included the last one; most
# tools of today write edges, as we do. The numbers do not say which, so a partner must. Here nothing is added.)
#
# ### Exercise: boxes from and to other formats
#
# Write three functions; each takes and returns a list of four numbers:
#
# - `from_voc(box)`: from Pascal VOC to ours,
# - `from_yolo(box, rows, columns)`: from YOLO to ours, for a picture of so many rows and columns,
# - `to_coco(box)`: from ours to COCO.

# %% tags=["exercise:m08.convert"]
def from_voc(box):
    # --- solution
    x_min, y_min, x_max, y_max = box
    return [y_min, x_min, y_max, x_max]
    # --- learner
    # ...
    # --- end


def from_yolo(box, rows, columns):
    # --- solution
    x, y, width, height = box
    return [
        (y - height / 2) * rows,
        (x - width / 2) * columns,
        (y + height / 2) * rows,
        (x + width / 2) * columns,
    ]
    # --- learner
    # ...
    # --- end


def to_coco(box):
    # --- solution
    row_min, column_min, row_max, column_max = box
    return [column_min, row_min, column_max - column_min, row_max - row_min]
    # --- learner
    # ...
    # --- end


# %% [markdown]
# The network does not see the picture as it is. The recipe packs it smaller (`image_size` in
# `pipelines/blood-cells/pipeline.yaml`), and the network's boxes are in *packed* pixels at first. Whoever forgets to bring them
# back draws small boxes into the upper left corner. Whoever uses one scale for both axes draws them beside the cells, as
# soon as a picture has another shape.
#
# ### Exercise: boxes in pixels of the original picture
#
# Write a function `to_original(boxes, packed, original)`. `boxes` is an array of shape (n, 4) in packed pixels, our order;
# `packed` and `original` are `[rows, columns]` of the packed and of the original picture. Return the boxes in original pixels,
# as an array of the same shape; do not round. `n` may be 0.

# %% tags=["exercise:m08.pixels"]
def to_original(boxes, packed, original):
    # --- solution
    scale = np.array(original) / np.array(packed)
    return boxes * np.concatenate([scale, scale])
    # --- learner
    # ...
    # --- end


# %% [markdown]
# Now as a customer would do it: give the model a new photograph. `ai4diag predict` writes one line per box, in pixels of the
# photograph, with the axis and the unit in the name of each column; `predictions.json` says which model answered. It also
# says that the model has no *bundle*: that is the folder that is handed on, and it is made only when the release gate is
# met. After four epochs it is not; we look at the answer all the same.

# %%
photo = here.root / "data/bccd/BCCD/JPEGImages/BloodImage_00327.jpg"
answers = here.folder / "answers"
# !ai4diag predict blood-cells --quick {photo} --out {answers}

# %%
boxes = pd.read_csv(answers / "predictions.csv")
rows, columns = plt.imread(photo).shape[:2]
print(f"{len(boxes)} boxes; the picture has {rows} rows and {columns} columns; the boxes reach")
print(f"down to row {boxes['row_max_px'].max():.0f}, and right to column {boxes['column_max_px'].max():.0f}")
boxes.head(3)

# %% [markdown] tags=["trainer"]
# **Timing (30 min).** Ten minutes of talk, two exercises of eight minutes, and the prediction.
#
# **Misconception:** "x comes first everywhere." **Say:** in files for browsers and in COCO yes; arrays are indexed by row
# first. Neither is wrong. What is wrong is a box without a word on its order.
#
# **Misconception:** "The width is max - min + 1." **Say:** that is the convention of whole pixels, where the last pixel
# belongs to the box. With continuous edges it makes boxes too large, and small objects most: a platelet of 10 pixels gets 21 %
# more area.
#
# **Pair** learners of different companies: one writes a box of their own product on paper, the other says which pixels it
# means. It seldom works at the first try.

# %% [markdown]
# ## How well does a box fit?
#
# A detection counts as found when it overlaps a label enough. The measure is **intersection over union** (IoU): the area
# that both share, over the area that they cover together. 1 is the same box, 0 nothing in common. Usual limits: 0.5 for
# "found" in a competition, 0.1 where it only matters that somebody looks there.

# %%
label = [2, 2, 8, 8]
others = {
    "shifted by 1": [2, 3, 8, 9],
    "shifted by 3": [2, 5, 8, 11],
    "half as large": [2, 2, 8, 5],
    "apart": [9, 9, 12, 12],
}
figure, axes = plt.subplots(1, 4, figsize=(10, 3.4), layout="constrained")
for axis, (words, other) in zip(axes, others.items(), strict=True):
    for box, style in ((label, "-"), (other, "--")):
        size = box[3] - box[1], box[2] - box[0]
        axis.add_patch(Rectangle((box[1], box[0]), *size, fill=False, linestyle=style, linewidth=2))
    axis.set(xlim=(0, 13), ylim=(13, 0), title=words, xlabel="column, pixels", box_aspect=1)
axes[0].set_ylabel("row, pixels")
figure.suptitle("label (solid) and detection (broken): guess the IoU of each before you compute it")
plt.show()

# %% [markdown]
# ### Exercise: intersection over union
#
# Write a function `iou(a, b)` of two boxes in our order. Return a number from 0 to 1; 0 where they share nothing, where they
# only touch, and where both have no area. The check counts the pixels of drawn boxes.

# %% tags=["exercise:m08.iou"]
def iou(a, b):
    # --- solution
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = height * width
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0
    # --- learner
    # ...
    # --- end


# %% [markdown]
# The library has its own, for many boxes at once. Both must agree, on real boxes too:

# %%
from ai4diag.evaluation.boxes import iou_matrix

run = lab.run("blood-cells --quick")
test = run.predictions.query("part == 'test'").reset_index(drop=True)
one = test.iloc[0]
truth, answered = np.reshape(one["truth_boxes"], (-1, 4)), np.reshape(one["boxes"], (-1, 4))[:20]
theirs = iou_matrix(answered, truth)
ours = np.array([[iou(a, b) or 0.0 for b in truth] for a in answered])
print(f"{theirs.size} pairs; largest difference {np.abs(theirs - ours).max():.1e}")

# %% [markdown] tags=["trainer"]
# **Timing (20 min).** Guess first, from the figure: 0.71, 0.33, 0.5, 0. Most people guess far too high for "shifted by 3";
# that is the point. IoU is strict with small objects: three pixels are nothing for a white cell, and the IoU of a platelet of ten
# pixels falls by them to 0.54.
#
# **Watch for:** the product of two negative lengths (boxes apart along both axes): the check has that case.

# %% [markdown]
# ## One cell, one box
#
# A network answers at every place of a grid, so one cell gets many boxes that nearly agree. **Non-maximum suppression** (NMS)
# keeps the best of them: go through all boxes, best score first, and keep a box unless one that was **kept** before overlaps it
# by **more than** a limit.
#
# ### Exercise: one cell, one box
#
# Write a function `nms(boxes, scores, limit)`: `boxes` is an array of shape (n, 4), `scores` one of shape (n,), all of one class.
# Return the list of the rows that stay, best score first; `n` may be 0. Use your `iou`.

# %% tags=["exercise:m08.nms"]
def nms(boxes, scores, limit):
    # --- solution
    kept = []
    for row in np.argsort(-scores):
        if all(iou(boxes[row], boxes[other]) <= limit for other in kept):
            kept.append(int(row))
    return kept
    # --- learner
    # ...
    # --- end


# %% [markdown]
# On the model's own answer it can be seen that the limit is a choice. A low limit loses cells that lie on each other; a high
# one leaves doubles. The library's `nms` beside yours:

# %%
from ai4diag.evaluation import boxes as library

red = np.array(one["labels"]) == 0
candidates, scores = np.reshape(one["boxes"], (-1, 4))[red], np.array(one["scores"])[red]
for limit in (0.1, 0.3, 0.5, 0.7):
    ours, theirs = nms(candidates, scores, limit), library.nms(candidates, scores, limit).tolist()
    print(f"limit {limit}: {len(theirs)} of {len(candidates)} boxes stay; yours {'agree' if ours == theirs else 'differ'}")

# %% [markdown] tags=["trainer"]
# **Timing (20 min).** Draw the chain of three boxes on the board: the middle one is dropped by the first, and must not drop
# the third any more.
#
# **Discussion:** in this picture red cells overlap. What would you do for a count of cells? (Choose the limit on validation,
# report the error of the count; never tune it on the test part.)

# %% [markdown]
# ## How many are found, at what price?
#
# Every detection has a score, and a threshold decides which boxes Ines sees. Lower it: more cells are found, and more boxes
# are false. The **FROC curve** shows both: the sensitivity over the number of false boxes per image. One point of it is easy
# to say aloud: *"at one false box per field it finds 8 of 10 cells"*.
#
# The other figure that detectors are sold by is **average precision** (AP). As the threshold is lowered, precision (PPV, the
# share of boxes shown that are right) is noted at each sensitivity, and its mean over all sensitivities from 0 to 1 is the
# AP of a class. The mean over classes is the **mAP**: `map_50` when a box is a hit from an IoU of 0.5 on. It says whether boxes
# fit and are ranked well, and nothing about how many false ones a field has.
#
# The run has both, of all classes together and for each:

# %%
table = run.table().query("part == 'test' and name in ['sensitivity_at_1_fp', 'map_50']").sort_values("name")
table[["name", "subgroup", "value", "low", "high", "n", "note"]]

# %% [markdown]
# Look at the classes before you look at the mean. After four epochs one kind of cell may not be found at all. Of that, no
# figure of all classes together says a word.
#
# How does such a figure come about? First each detection is compared with the labels: it **hits** the label of its class that it
# overlaps most, from an IoU of 0.1 on. Further hits of the same cell are left out, all others are false.
# That is done here:

# %%
def outcomes(table, label, least=0.1):
    """Return scores, whether each is a hit, and the number of labels, of one class over all images."""
    scores, found, n_truth = [], [], 0
    for line in table.itertuples():
        its = np.reshape(line.truth_boxes, (-1, 4))[np.array(line.truth_labels) == label]
        own = np.array(line.labels) == label
        overlap = iou_matrix(np.reshape(line.boxes, (-1, 4))[own], its)
        n_truth, taken = n_truth + len(its), set()
        for row in np.argsort(-np.array(line.scores)[own], kind="stable"):
            cell = int(overlap[row].argmax()) if len(its) and overlap[row].max() >= least else None
            if cell is None or cell not in taken:
                scores.append(np.array(line.scores)[own][row])
                found.append(cell is not None)
                taken.add(cell)
    return np.array(scores), np.array(found, bool), n_truth


# %% [markdown]
# ### Exercise: sensitivity at one false alarm per image
#
# Write a function `sensitivity_at(scores, found, n_truth, n_images, rate)`. `scores` and `found` (true for a hit) are arrays with
# one entry per detection, of all images together and in no order; no two scores are equal. `n_truth` is the number of cells,
# `n_images` that of images. One threshold is lowered over all images until one more false detection would make more than
# `rate` x `n_images` of them. Return the share of cells found by then, from 0 to 1. There may be no detection at all.

# %% tags=["exercise:m08.froc"]
def sensitivity_at(scores, found, n_truth, n_images, rate):
    # --- solution
    order = np.argsort(-scores)
    hits, false = np.cumsum(found[order]), np.cumsum(~found[order])
    allowed = hits[false <= rate * n_images]
    return allowed.max() / n_truth if len(allowed) else 0.0
    # --- learner
    # ...
    # --- end


# %% [markdown]
# Yours, and the run's own estimate, for each class; then the whole curve. Where is the number on the board?

# %%
classes = run.record.facts["classes"]
figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
for label, (name, style) in enumerate(zip(classes, ("o-", "s--", "^:"), strict=True)):
    scores, found, n_truth = outcomes(test, label)
    rates = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    curve = [sensitivity_at(scores, found, n_truth, len(test), rate) or 0.0 for rate in rates]
    own = table.query(f"subgroup == 'class={name}' and name == 'sensitivity_at_1_fp'")["value"].iloc[0]
    print(f"{name:<10} {n_truth:>4} cells: at 1 false box per image yours {curve[3]:.4f}, the run's {own:.4f}")
    axis.plot(rates, curve, style, color="black", label=f"{name} ({n_truth} cells)")
axis.set(xscale="log", xticks=rates, ylim=(-0.03, 1.03))
axis.set(xlabel="false boxes per image (log scale)", ylabel="sensitivity, share of cells found", title="FROC, test part")
axis.set_xticklabels(["1/8", "1/4", "1/2", *map(str, (1, 2, 4, 8))])
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown] tags=["trainer"]
# **Timing (25 min).** Ten minutes on the table and its classes, ten for the exercise, five for the curve.
#
# **Misconception:** "The mAP is fine, so the detector is fine." **Say:** a mean over classes hides a class at 0. Which class
# would Ines's patients need?
#
# **Misconception:** "One false box per image means one in each image." **Say:** it is a mean over all images with one
# threshold; a difficult image may have ten, and that is where people stop trusting.
#
# **Discussion:** what does 0.1 as the limit of a hit allow? (Rough boxes. It asks "would somebody look there?", not "does the
# box fit?"; average precision at 0.5 to 0.95 asks the second.)

# %% [markdown]
# ## Labels that are missing
#
# Labels are made by hand, and some are missing: the card of this data set says so (`lab.dataset("bccd")`). Count the red cells
# that are labelled in each test picture, and those that the model shows there with a score of 0.3 or more:

# %%
count = pd.DataFrame(
    {
        "case_id": test["case_id"],
        "labelled": [int((np.array(labels) == 0).sum()) for labels in test["truth_labels"]],
        "shown": [
            int(((np.array(line.labels) == 0) & (np.array(line.scores) >= 0.3)).sum()) for line in test.itertuples()
        ],
    }
)
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.plot(count["labelled"], count["shown"], "o", color="black", fillstyle="none")
axis.set(xlabel="red cells labelled", ylabel="red cells shown (score 0.3 or more)", title="one circle per test picture")
axis.set(xlim=(-1, None), ylim=(0, None))
plt.show()

# %% [markdown]
# On the left there are pictures with hardly a label, and as many detections as elsewhere. Look at one of them yourself. Are
# those false alarms?

# %%
picture = plt.imread(photo)
labelled = test.set_index("case_id").loc["BloodImage_00327"]
figure, axis = plt.subplots(figsize=(7, 5.2), layout="constrained")
axis.imshow(picture)
for line in boxes.query("score >= 0.4").itertuples():
    width, height = line.column_max_px - line.column_min_px, line.row_max_px - line.row_min_px
    low = line.column_min_px, line.row_min_px
    axis.add_patch(Rectangle(low, width, height, fill=False, linestyle="--", edgecolor="black"))
for row_min, column_min, row_max, column_max in np.reshape(labelled["truth_boxes"], (-1, 4)):
    size = column_max - column_min, row_max - row_min
    axis.add_patch(Rectangle((column_min, row_min), *size, fill=False, linewidth=3))
axis.set(xlabel="column, pixels", ylabel="row, pixels")
axis.set_title("labels (thick) and what the model shows (broken), score 0.4 or more")
plt.show()

# %% [markdown]
# ### Exercise: what missing labels do
#
# 1. Write a function `recount(hits, n_truth, gone)`. There are `n_truth` real cells, numbered from 0. `hits` has one entry per
#    detection: the number of the cell that it hits, or `None`; no cell is hit twice. `gone` is a list of cells whose label is
#    missing. Return `{"found": ..., "false": ..., "missed": ...}` as somebody would count who knows the remaining labels only.
# 2. Define `suspects`: the list of `case_id` of those test pictures in `count` that have at most 3 labelled red cells, and at least
#    10 shown ones.

# %% tags=["exercise:m08.missing"]
def recount(hits, n_truth, gone):
    # --- solution
    found = sum(hit is not None and hit not in gone for hit in hits)
    return {"found": found, "false": len(hits) - found, "missed": n_truth - len(set(gone)) - found}
    # --- learner
    # ...
    # --- end


# --- solution
suspects = count.query("labelled <= 3 and shown >= 10")["case_id"].tolist()
print(suspects)
# --- learner
# # suspects = [...]
# --- end

# %% [markdown]
# What do they do to the figures? Remove labels from the test pictures at random and count again: red cells, threshold 0.4.
# Run it when `recount` works.

# %%
def counted(share, random):
    """Return PPV and sensitivity for red cells when a share of the labels is missing."""
    total = {"found": 0, "false": 0, "missed": 0}
    for line in test[~test["case_id"].isin(suspects)].itertuples():
        its = np.reshape(line.truth_boxes, (-1, 4))[np.array(line.truth_labels) == 0]
        own = (np.array(line.labels) == 0) & (np.array(line.scores) >= 0.4)
        overlap = iou_matrix(np.reshape(line.boxes, (-1, 4))[own], its)
        hits, taken = [], set()
        for row in overlap:
            cell = int(row.argmax()) if len(its) and row.max() >= 0.5 and int(row.argmax()) not in taken else None
            taken.add(cell)
            hits.append(cell)
        gone = np.flatnonzero(random.uniform(size=len(its)) < share).tolist()
        total = {name: total[name] + number for name, number in recount(hits, len(its), gone).items()}
    return total["found"] / (total["found"] + total["false"]), total["found"] / (total["found"] + total["missed"])


if recount([None], 0, []) is not None:
    for share in (0, 0.2, 0.4):
        ppv, sensitivity = counted(share, np.random.default_rng(8))
        print(f"{share:.0%} of the labels missing: PPV {ppv:.3f}, sensitivity {sensitivity:.3f}")

# %% [markdown]
# PPV falls in step with the labels, and the sensitivity hardly moves: cells without a label cannot be missed. So, when a
# detector seems to have many false alarms, **look at them** before you train it away. Then label again, by a person who does not
# see the model's boxes. Never drop a picture from the test part because the figure dislikes it, and never let the model write
# the labels that it is judged by; correct the data set, give it a new version, and report both.

# %% [markdown] tags=["trainer"]
# **Timing (30 min).** Let the room look at the picture for a full minute before anybody speaks. Then ten minutes for the
# exercise, ten for the discussion.
#
# **Misconception:** "We drop the bad pictures from the test part." **Say:** then the figure is chosen, not measured. Which ones
# are bad was found with the model's own answers. Correct the labels blind, for all pictures alike, and report before and after.
#
# **Discussion:** the training part has such pictures too. What has the model learned from them? (That cells are background, now
# and then. Its scores for red cells are lower than they need to be.)
#
# **Pairing:** a company with a hospital. Who in the hospital would label again, and who pays for it? That is a contract
# question, and it comes up in every real project.

# %% [markdown]
# ## Key points
#
# - A box has an order, edges and a unit: rows first, continuous edges, original pixels. Say so in the name of each column.
# - IoU is shared area over common area; a shift of a few pixels costs small objects most.
# - NMS keeps the best box of a heap; a dropped box drops no other. It cannot tell doubles from neighbours.
# - Read a detector as sensitivity at so many false boxes per image, class by class, with intervals.
# - Missing labels turn correct boxes into false alarms: PPV falls, sensitivity does not. Look at false alarms first.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
