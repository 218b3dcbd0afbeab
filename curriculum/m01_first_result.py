# ---
# jupyter:
#   ai4diag:
#     id: m01
#     title: First result in five minutes
#     badge: Explorer
#     ambitions: [skills]
#     minutes: 60
#     sections:
#       Story: 5
#       Run a pipeline: 10
#       Read the report: 15
#       Find the run: 8
#       Change one thing: 10
#       Name the data version: 6
#       Key points: 2
#       Quiz: 4
#     objectives:
#       - run a pipeline and say which four stages it went through
#       - read a headline with its interval, the release gate, and how many patients a report rests on
#       - find a run again by its id, in MLflow, in a terminal and in a notebook
#       - run a pipeline with one setting changed and compare the two runs on the same patients
#       - name the version of the data that a run rests on, and verify it
#     data: [wdbc]
#     pipelines: [breast-mass]
# ---

# %%
import hashlib
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt

from ai4diag import lab
from ai4diag.course import check, start

here = start("m01")
here

# %% [markdown]
# ## Story
#
# Amara is 46. She felt a lump in her left breast, and a doctor has drawn some cells out of it with a fine needle. A
# cytopathologist looks at the smear: benign, or malignant? Your company wants to offer a second reading. A camera
# outlines the nuclei of the cells, thirty measurements come out, and a model answers with a probability.
#
# Two things can go wrong, and they do not cost the same:
#
# - **missed**: the mass is malignant and the model says no. Amara goes home, and treatment begins months late;
# - **false alarm**: the mass is benign and the model says yes. Amara has a biopsy that she did not need, and weeks of
#   fear.
#
# In the next hour you run such a model from raw data to a report, and learn to say of any number in it: from which run
# is it, on which data does that run rest, on how many patients, and how sure is it?

# %% [markdown] tags=["trainer"]
# **Trainer, first 5 minutes.** Let everybody run the first cell while you tell the story: whoever sees a cross there
# gets help now, not in the middle of the lesson. Ask the room: "Which of the two mistakes is worse, and for whom?" Take
# two answers, ideally one of an engineer and one of a clinician; do not settle it. It comes back in lesson 4.
#
# Pair people of different companies at one screen. One types, the other reads aloud; they change at "Change one thing".

# %% [markdown]
# ## Run a pipeline
#
# A **pipeline** is a folder: `pipelines/breast-mass/` holds a recipe (`pipeline.yaml`) and a page about its purpose and
# limits. The command `ai4diag` does the work. A line that begins with `!` is run as in a terminal.
#
# First ask whether the machine is fit. Each line begins with `ok`, `note` (it works, with a limit) or `fault`, and a
# fault comes with its cure.

# %%
# !ai4diag doctor

# %% [markdown]
# Now the whole pipeline. It goes through four stages:
#
# | stage | what it does | what it leaves in `pipelines/breast-mass/out/` |
# |---|---|---|
# | `prepare` | reads the raw table, checks it, divides it by patient | `prepared/` |
# | `train` | fits the model on the training part | `model/`, `predictions.parquet` |
# | `evaluate` | compares predictions and truth on the test part | `estimates.json`, `report.html` |
# | `package` | wraps the model for others, if the release gate is met | `bundle/` |

# %%
# !ai4diag run breast-mass

# %% [markdown]
# The last lines say what was reached: `auroc`, a value, an interval in brackets, the number of cases (`n`) and of
# patients. Run the cell again: nothing is trained, because nothing is out of date.
#
# In a notebook, `lab.run` fetches the latest run of a pipeline, and it shows itself.

# %%
first = lab.run("breast-mass")
first

# %% [markdown] tags=["trainer"]
# **5 to 15 minutes.** The run takes about 20 s the first time; most of that is starting programs, not training. Point
# at the four lines `prepare`, `train`, `evaluate`, `package` as they appear. Who has run the pipeline before sees no
# training at all: good, let them say why.
#
# **Misconception:** "The number is the result." **Say:** Cover the brackets with your hand. What would another 171
# patients have given? The interval is the result; the number is one point in it, and not always its middle.

# %% [markdown]
# ## Read the report
#
# A run ends in one page. **In plain words** at its top is for everybody; the rest is there to check what it says. Run
# the next cell and scroll in the frame. Look for these five things:
#
# 1. the **headline**. AUROC: of a hundred pairs of one malignant and one benign mass, in how many does the model rank
#    the malignant one higher?
# 2. its **95 % interval**: how far chance alone could have moved the figure;
# 3. **of 100 malignant cases the model finds about ...**, and on how many cases that was tested;
# 4. the **release gate**: what the recipe demands before a bundle is made. It is asked of the lower limit of the
#    interval;
# 5. **models tested on these cases**: to try many models on the same test patients and keep the best one flatters it.

# %%
first.report

# %% [markdown]
# ### Exercise: read it off
#
# Fill in `reading`, a mapping with four numbers from the report:
#
# - `"lower"`: lower limit of the interval of the AUROC (three decimals will do);
# - `"malignant"`: how many malignant cases the test part has;
# - `"missed"`: how many of these the model missed (a whole number of cases, not a percentage). The confusion matrix
#   under **At the operating point** has it: a table of what the cases are (rows or columns: look at the headings) and
#   what the model called them. The operating point is the score from which on a case counts as a yes;
# - `"models"`: how many models have been tested on these cases, this one included.

# %% tags=["exercise:m01.report"]
# --- solution
test = first.predictions.query("part == 'test'")
malignant = int((test["truth"] == 1).sum())
found = round(first["sensitivity"].value * malignant)
reading = {
    "lower": round(first.headline.low, 3),
    "malignant": malignant,
    "missed": malignant - found,
    "models": first.record.facts["look"],
}
# --- learner
# reading = {"lower": ..., "malignant": ..., "missed": ..., "models": ...}
# --- end

# %% [markdown]
# ### Exercise: the release gate
#
# The recipe of breast-mass says `accept: {auroc_low: 0.97}`. Your own product will have such a line too, so write the
# rule down once.
#
# Define `meets_gate(value, low, wanted)`: all three are numbers between 0 and 1. `value` is the estimate, `low` the
# lower limit of its interval, `wanted` what the gate asks. Return `True` when the gate is met, else `False`. A limit
# that is exactly what was asked for meets it. `low` is NaN when an interval could not be computed; such an estimate
# never meets a gate.

# %% tags=["exercise:m01.gate"]
def meets_gate(value, low, wanted):
    # --- solution
    return low >= wanted  # a comparison with NaN is False
    # --- end

# %% [markdown] tags=["trainer"]
# **15 to 30 minutes.** Six minutes for each exercise is plenty. Common slips: 97 written for `missed` (that is "found
# of 100"), 171 for `malignant` (that is everybody). Discussion, when both are done: "The value is 0.98, the gate asks
# 0.97, and the bundle is refused. Who would you have to explain that to in your company, and how?"
#
# **Misconception:** "0.975 is above 0.97, so the gate is met." **Say:** It is the lower limit that counts. A small
# study can show 0.975 by luck; the lower limit is what the data still support if this study was a lucky one.

# %% [markdown]
# ## Find the run
#
# Next week somebody asks: "Where does that figure on your slide come from?" Each training is a **run** with an id of 32
# characters, and it is kept. There are three ways to it.
#
# - **In MLflow,** a program that keeps the settings and results of all trainings and shows them in a browser. Open the
#   launcher (the `+` tab) and the tile **MLflow**, or run `ai4diag ui` in a terminal. Choose
#   the experiment `breast-mass`, then the newest run. Find there: the metric `auroc`, the parameter `train.epochs`, the
#   tag `ai4diag.data_sha256`.
# - **In a terminal:** `ai4diag runs list breast-mass`, then `ai4diag runs show` with the first characters of an id.
# - **In a notebook:** `lab.run("breast-mass")`, or `lab.run("63aa2d82")` with the first characters of an id.

# %%
# !ai4diag runs list breast-mass

# %% [markdown]
# With `--json` a program can read the same list. A run whose machine went down stands there too: its status is not
# `FINISHED`.

# %%
# lines = !ai4diag runs list breast-mass --json
rows = json.loads("\n".join(lines))
{name: rows[0][name] for name in ("run_id", "pipeline", "variant", "status", "started")}

# %% [markdown]
# ### Exercise: find it again
#
# Define `find_run(rows, pipeline, variant)`. `rows` is a list like the one above, in any order; each row is a mapping
# with at least `run_id`, `pipeline`, `variant` (`"full"`, `"quick"`, ...), `status` and `started` (a text such as
# `2026-11-22T23:05:24+00:00`; later texts sort behind earlier ones). Return the `run_id` of the newest run of that
# pipeline and variant whose status is `FINISHED`, or `None` when there is none.

# %% tags=["exercise:m01.find"]
def find_run(rows, pipeline, variant):
    # --- solution
    wanted = (pipeline, variant, "FINISHED")
    fit = [row for row in rows if (row["pipeline"], row["variant"], row["status"]) == wanted]
    return max(fit, key=lambda row: row["started"])["run_id"] if fit else None
    # --- end

# %% [markdown] tags=["trainer"]
# **30 to 38 minutes.** Show the way through MLflow on the projector once, slowly: launcher, tile, experiment, run, then
# the tag `ai4diag.data_sha256`; leave it on the screen, it is needed in 15 minutes. MLflow needs up to 20 s to start
# the first time. Who is quick with the exercise helps the neighbour: why is the first row of the list not always the
# right answer?

# %% [markdown]
# ## Change one thing
#
# A colleague says: "Three epochs are enough, the model learns so quickly." (In an epoch the model goes through all
# training cases once.) Do not argue, run it. `--set` changes one
# setting of the recipe for this run alone. The result is a **variant**: it goes to a folder of its own, and the
# pipeline's own result stays.

# %% [markdown]
# ### Exercise: one setting, another result
#
# Run `breast-mass` with exactly one setting changed, `train.epochs` or another one of the recipe, and fetch that run.
# Define `second`, that run, as `lab.run` returns it. The headline must come out different, and both runs must rest on
# the same prepared data: otherwise they were tested on different patients, and the comparison says nothing.
#
# `!ai4diag run breast-mass --set train.epochs=3` runs it. `lab.run` takes the same words, without `ai4diag run`.

# %% tags=["exercise:m01.change"]
# --- solution
# !ai4diag run breast-mass --set train.epochs=3
second = lab.run("breast-mass --set train.epochs=3")
# --- learner
# # !ai4diag run breast-mass --set ...
# second = lab.run(...)
# --- end

# %% [markdown]
# What has changed? `ai4diag compare` answers for all estimates at once, on the same patients, with an interval for each
# difference. Its first sentence is a verdict.

# %%
# !ai4diag compare {first.record.run_id} {second.record.run_id}

# %% [markdown]
# The figure shows both runs with their intervals: the round marks are the first run, the squares the second. See that
# the AUROC is hardly different while the Brier score (the squared error of the probability, lower is better) may be: a
# model can still rank well and yet say wrong probabilities.

# %%
names = ["auroc", "sensitivity", "specificity", "brier"]
figure, axes = plt.subplots(figsize=(7, 2.8))
for run, label, mark, colour, shift in (first, "first run", "o", "0", -0.1), (second, "second run", "s", "0.5", 0.1):
    found = [run[name] for name in names]
    rows_at = [place + shift for place in range(len(names))]
    axes.hlines(rows_at, [item.low for item in found], [item.high for item in found], color=colour)
    axes.plot([item.value for item in found], rows_at, mark, color=colour, label=label)
axes.set_yticks(range(len(names)), names)
axes.invert_yaxis()
axes.set_xlabel("estimate on the test part, with 95 % interval (no unit, 0 to 1)")
axes.set_xlim(-0.02, 1.02)
axes.legend(loc="center")
figure.tight_layout()

# %% [markdown] tags=["trainer"]
# **38 to 48 minutes.** Change who types. Ask each pair to predict before running: will the AUROC fall, and by how much?
# Then read the verdict of `compare` aloud, word by word.
#
# Watch for pairs that change `data.split.seed`: the check refuses, because other patients are in the test part. That is
# the best discussion of the lesson, take it to the room.
#
# **Misconception:** "No difference is shown, so the two are equally good." **Say:** It is not shown, that is all. The
# interval of the difference says how much better or worse the second may still be.

# %% [markdown]
# ## Name the data version
#
# A figure means nothing without the data on which it rests. Names and dates do not help: `final_v2.csv` is overwritten
# in silence. A **hash** does: a short text computed from the bytes of a file. One byte changed, and it is another one.
#
# - Each run notes the SHA-256 of `prepared/prepared.json`; that file in turn lists the hashes of all prepared files.
#   Two runs with the same hash were trained and tested on the same cases.
# - `dvc.lock` is the lock file of the whole workspace: what each stage read and wrote, committed with the code. It
#   names the folder `prepared` with an MD5 that ends in `.dir`.

# %%
prepared = here.root / "pipelines" / "breast-mass" / "out" / "prepared" / "prepared.json"
lock = (here.root / "dvc.lock").read_text(encoding="utf-8")
print({name: first.record.facts["trained"][name] for name in ("git_commit", "data_sha256", "seed", "version")})
print(lock[lock.index("  prepare@breast-mass:") :][:900])

# %% [markdown]
# ### Exercise: the same data, proved
#
# Define three names:
#
# - `fingerprint(path)`: a function that returns the SHA-256 of a file's bytes as 64 hexadecimal characters (`hashlib`
#   is in Python);
# - `recorded`: the data hash that your run `first` noted when it was trained (text);
# - `locked`: the MD5, with its `.dir`, that `dvc.lock` gives for `pipelines/breast-mass/out/prepared`, as an output of
#   the stage `prepare@breast-mass` (text).
#
# Then `fingerprint(prepared) == recorded` proves that your run rests on the data that lie there now.

# %% tags=["exercise:m01.version"]
def fingerprint(path):
    # --- solution
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    # --- end


# --- solution
recorded = first.record.facts["trained"]["data_sha256"]
stage = lock[lock.index("  prepare@breast-mass:") :]
locked = re.search(r"path: pipelines/breast-mass/out/prepared\s+hash: md5\s+md5: (\S+)", stage)[1]
# --- learner
# recorded = ...
# locked = ...
# --- end
print("the run rests on the data that lie here:", fingerprint(prepared) == recorded)

# %% [markdown] tags=["trainer"]
# **48 to 54 minutes.** Two companies at one table compare the first eight characters of `recorded`: they are the same
# on every laptop in the room. Nobody sent a patient's data to anybody, and still you know that you speak of the same
# data. Say that this comes back in lesson 10, where one company repeats the result of another.
#
# **Misconception:** "The commit is enough to repeat a result." **Say:** Git holds the code and the lock file; the data
# are too large or too private for it. The hash in the lock file is the bridge.

# %% [markdown]
# ## Key points
#
# - `ai4diag run NAME` goes through prepare, train, evaluate and package, and runs only what is out of date.
# - The interval is the result: read the lower limit, and on how many patients it rests. A release gate asks the lower
#   limit.
# - Each run has an id, and is found again in MLflow, with `ai4diag runs`, and with `lab.run`.
# - `--set` changes one setting and makes a variant; `ai4diag compare` says whether it is better, on the same patients.
# - A run names the hash of its data. Equal hashes, same cases; another hash, no comparison.
# - Evidence, not approval: nothing here is for clinical use.
#
# More: [read a report](../docs/how-to/read-a-report.md), [compare two models](../docs/how-to/compare.md),
# [track runs](../docs/how-to/track-with-mlflow.md).

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]

# %% [markdown] tags=["trainer"]
# **Last 6 minutes.** Read the key points together, then the quiz alone, four minutes. Ask for a show of hands on
# question 2; it is the one that is missed most often. Whoever is behind runs `ai4diag course catch-up m02` before the
# next lesson.
