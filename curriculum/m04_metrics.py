# ---
# jupyter:
#   ai4diag:
#     id: m04
#     title: Metrics a clinician trusts
#     badge: Explorer
#     ambitions: [skills]
#     minutes: 120
#     sections:
#       Story: 5
#       Two kinds of mistake: 20
#       What an alarm is worth: 22
#       How sure is that?: 28
#       When the answer is an area: 18
#       Read a report like a sceptic: 17
#       Key points: 3
#       Quiz: 7
#     needs: [m01, m02]
#     objectives:
#       - compute sensitivity and specificity at a threshold, and say when they are undefined
#       - compute what an alarm is worth (PPV) at the prevalence of the place where a model will be used
#       - estimate a 95 % interval that draws whole patients, and explain why single cases are not enough
#       - compute Dice, empty masks included
#       - read a report by hospital, and name what it does not show
#     data: [uci_heart, uci_parkinsons]
#     pipelines: [heart-disease, parkinsons-voice]
#     runs: [heart-disease, parkinsons-voice]
# ---

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ai4diag import lab
from ai4diag.course import check, start

here = start("m04")
here

# %% [markdown]
# ## Story
#
# Matteo is 58. Climbing stairs, he feels a pressure in his chest. A cardiologist can look into the arteries of his
# heart with a catheter (angiography): certain, but with a risk of its own. From ten findings, age, blood pressure, an
# exercise test, a model says how likely an artery is narrowed.
#
# - **missed**: an artery is narrowed, the model says no, Matteo goes home. The next stairs may be the last;
# - **false alarm**: nothing is narrowed, and Matteo has a catheter in his heart for nothing.
#
# Your company wants to sell the model to general practitioners. It was tested in four hospitals. "AUROC 0.89", says the
# slide. The practitioner asks three questions, and the AUROC answers none of them: *How many do you miss? When it says
# yes, how often is it right, with my patients? And how sure are you?*

# %% [markdown] tags=["trainer"]
# **First 5 minutes.** Come back to the question of lesson 1, which mistake is worse. Here the answers differ by role:
# let a clinician (or whoever plays one) put the practitioner's three questions to an engineer, and let the engineer try
# to answer from the slide. The silence is the lesson. Write the three questions on the wall; each section answers one.

# %% [markdown]
# ## Two kinds of mistake
#
# The run is there already. Its predictions hold one line per patient of the test part: the truth (1: an artery is
# narrowed) and the model's score.

# %%
run = lab.run("heart-disease")
test = run.predictions.query("part == 'test'")
print(f"{len(test)} patients, {test['truth'].sum()} of them ill")
test[["site", "sex", "truth", "score"]].head(4)

# %% [markdown]
# A score becomes a decision by a **threshold**. This recipe fixed 0.5 before any data was seen. A score *at or above*
# it is a yes. Then four kinds of patients are left:

# %%
truth, score = test["truth"].to_numpy(), test["score"].to_numpy()
is_what = pd.Series(np.where(truth == 1, "ill", "well"), name="truth")
called = pd.Series(np.where(score >= 0.5, "called ill", "called well"), name="model")
table = pd.crosstab(is_what, called)
table

# %% [markdown]
# - **Sensitivity**: of the ill, the share that is found. It looks along the row *ill* and nowhere else.
# - **Specificity**: of the well, the share that is cleared. It looks along the row *well*.
#
# Without a single ill patient there is no sensitivity. Not 0, not 1: undefined, NaN.
#
# ### Exercise: found and cleared
#
# Define `rates(truth, score, threshold)`. `truth` holds 1 (ill) or 0 (well) per patient, `score` the model's scores,
# both as arrays of one length. Return a tuple of two numbers, sensitivity and specificity, each a share between 0 and
# 1, or `math.nan` where it is undefined. A score equal to the threshold is a yes.

# %% tags=["exercise:m04.rates"]
def rates(truth, score, threshold):
    # --- solution
    truth, yes = np.asarray(truth) == 1, np.asarray(score) >= threshold
    found = (truth & yes).sum() / truth.sum() if truth.any() else math.nan
    cleared = (~truth & ~yes).sum() / (~truth).sum() if (~truth).any() else math.nan
    return float(found), float(cleared)
    # --- end


print("by your function:", rates(truth, score, 0.5))
print("by the run:      ", run["sensitivity"].value, run["specificity"].value)

# %% [markdown]
# Where should the threshold be? The figure has every threshold: the solid line is the sensitivity, the dashed one the
# specificity. See that one falls while the other rises. There is no right place, only a price: which of the two
# mistakes costs more. That is decided before the test part is looked at, and not by the engineer alone.

# %%
thresholds = np.linspace(0, 1, 101)
both = [rates(truth, score, threshold) or (math.nan, math.nan) for threshold in thresholds]
figure, axes = plt.subplots(figsize=(6.5, 3))
axes.plot(thresholds, [pair[0] for pair in both], color="0", label="sensitivity (of the ill, found)")
axes.plot(thresholds, [pair[1] for pair in both], "--", color="0.4", label="specificity (of the well, cleared)")
axes.axvline(0.5, color="0.7", linewidth=1)
axes.set_xlabel("threshold on the score (no unit)")
axes.set_ylabel("share of patients")
axes.legend()
figure.tight_layout()

# %% [markdown] tags=["trainer"]
# **5 to 25 minutes.** Ten minutes of talk at the table, ten for the exercise. Make somebody put a finger on the row
# *ill* of the table: all of sensitivity happens there. Watch for `>` instead of `>=`, and for a division by zero that
# prints a warning and returns something.
#
# **Misconception:** "Accuracy says it all." **Say:** Where 5 of 100 are ill, "everybody is well" is right in 95 of 100,
# and finds nobody. The report says so beside an accuracy that is no better than that.

# %% [markdown]
# ## What an alarm is worth
#
# Matteo's practitioner asks: "When it says yes, how often is it right?" That is the **positive predictive value**
# (PPV). The run has one:

# %%
print(run["ppv"], "where", f"{test['truth'].mean():.0%}", "of the patients are ill")

# %% [markdown]
# But everybody in this test part had been *chosen* for angiography, and half of them are ill. In a general practice
# perhaps 5 of 100 with chest pain are. Count it out for 1,000 of them:

# %%
ill, well = 50, 950
found = ill * run["sensitivity"].value
false_alarms = well * (1 - run["specificity"].value)
print(f"of {ill} ill the model finds {found:.0f}")
print(f"of {well} well it alarms {false_alarms:.0f}")
print(f"of {found + false_alarms:.0f} alarms {found / (found + false_alarms):.0%} are right")

# %% [markdown]
# The model is the same, and the count takes its sensitivity and specificity as they were. Only the people are others,
# and most alarms are false now. No model has *a* PPV: it has one at a prevalence. Always say which.
#
# Mind what was assumed: that the model finds the ill and clears the well of a practice as well as those of a hospital.
# Where the ill come earlier and with milder disease, it may not. Only data of a practice can tell.
#
# ### Exercise: the worth of an alarm
#
# Define `ppv(sensitivity, specificity, prevalence)`: three numbers from 0 to 1; the share of alarms that are right,
# from 0 to 1. Where there would be no alarm at all, return `math.nan`. Write the count above with 1 instead of 1,000
# people.

# %% tags=["exercise:m04.ppv"]
def ppv(sensitivity, specificity, prevalence):
    # --- solution
    right = sensitivity * prevalence
    wrong = (1 - specificity) * (1 - prevalence)
    return right / (right + wrong) if right + wrong > 0 else math.nan
    # --- end


# %% [markdown]
# The figure draws your function over all prevalences, with the sensitivity and specificity of the run. The vertical
# lines are the practice (5 %) and the hospitals of the test part. See how steep the curve is on the left, where
# screening and general practice are.

# %%
prevalences = np.linspace(0.001, 0.999, 200)
at = [ppv(run["sensitivity"].value, run["specificity"].value, share) or 0 for share in prevalences]
figure, axes = plt.subplots(figsize=(6.5, 3))
axes.plot(prevalences, at, color="0")
for share, style, label in (0.05, ":", "practice"), (test["truth"].mean(), "--", "test part"):
    axes.axvline(share, linestyle=style, color="0.4", label=f"{label}, {share:.0%} ill")
axes.set_xlabel("prevalence: share of patients who are ill")
axes.set_ylabel("PPV: share of alarms that are right")
axes.legend(loc="lower right")
figure.tight_layout()

# %% [markdown]
# The product computes this too, with an interval, when the recipe says `evaluate.prevalence`. It needs no new training:
# `ai4diag evaluate --predictions` scores any table of predictions under a plan. Another vendor's table as well; nobody
# needs to show you the model.

# %%
plan = f"""
task: tabular
evaluate:
  primary: auroc
  prevalence: 0.05
  interval: {{level: 0.95, resamples: {200 if here.fast else 2000}, unit: patient_id}}
  operating_point: {{threshold: 0.5}}
"""
(here.folder / "plan.yaml").write_text(plan)
test[["case_id", "patient_id", "truth", "score"]].to_csv(here.folder / "practice.csv", index=False)

# %%
# !ai4diag evaluate --predictions {here.folder}/practice.csv --plan {here.folder}/plan.yaml --out {here.folder}/practice

# %%
practice = pd.read_json(here.folder / "practice" / "estimates.json")
practice[practice["name"].isin(["ppv", "ppv_at_prevalence", "npv_at_prevalence"])][["name", "value", "low", "high"]]

# %% [markdown] tags=["trainer"]
# **25 to 47 minutes.** Do the count with people, not with formulas: twenty participants stand up as patients, one is
# ill, who sits down when cleared? Five minutes well spent.
#
# **Misconception:** "Our PPV is 83 %, it says so in the report." **Say:** At which prevalence? Yours was one half. With
# one in twenty the same model is wrong in most of its alarms.
#
# **Misconception:** "Then the sensitivity falls as well where the disease is rare." **Say:** Not by counting: it looks
# at the ill alone. It may fall for another reason: the ill of a practice are earlier and milder cases than those of a
# hospital. No formula knows that.
#
# Break after this section.

# %% [markdown]
# ## How sure is that?
#
# Had other patients come to the four hospitals in those years, the numbers would be others. How much so? The
# **bootstrap** asks the data themselves: draw as many patients as there are, *with replacement*, so that some come
# twice and some not at all; compute the number; do that some thousand times. The middle 95 of 100 results, from the
# 2.5th to the 97.5th percentile, are the interval.
#
# What is drawn? The **patient**, never the single case. Ten recordings of one person are not ten pieces of evidence: if
# the model is right about the first, it is mostly right about all ten.
#
# The run `parkinsons-voice` (lesson 2) has such data: several recordings of each person.

# %%
voice = lab.run("parkinsons-voice").predictions.query("part == 'test'")
voice = voice.assign(correct=(voice["score"] >= 0.5) == (voice["truth"] == 1))
by_person = voice.groupby("patient_id")["correct"].agg(["size", "sum"])
print(f"{len(voice)} recordings of {len(by_person)} people; right: {voice['correct'].mean():.3f}")
print("people with all recordings right or all wrong:", (by_person["sum"] % by_person["size"] == 0).sum())

# %% [markdown]
# ### Exercise: draw patients
#
# Define `patient_interval(patient, correct)`: two arrays of one length. `patient` holds one text per case, whose case
# it is; `correct` one 1 or 0 per case, whether the model was right. Return a tuple `(low, high)`: the 95 % interval
# (2.5th and 97.5th percentile) of *the share of cases that are right*, from at least 2,000 resamples of whole patients:
#
# 1. as many patients are drawn as there are, with replacement;
# 2. all cases of a patient come along, twice if the patient was drawn twice;
# 3. the share is taken over all cases that came.
#
# It should take less than a second: sum up each patient first, then draw.

# %% tags=["exercise:m04.interval"]
def patient_interval(patient, correct, resamples=2000):
    # --- solution
    _, owner = np.unique(np.asarray(patient), return_inverse=True)
    right = np.bincount(owner, weights=np.asarray(correct, float))
    cases = np.bincount(owner)
    drawn = np.random.default_rng(1).integers(0, len(cases), (resamples, len(cases)))
    shares = right[drawn].sum(axis=1) / cases[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)
    # --- end


# %% [markdown]
# Compare three intervals of the same number: whole people drawn by your function; the product's own bootstrap of
# people; and, wrongly, every recording by itself. See in the figure how much narrower the last one is: that much
# certainty does not exist.

# %%
from ai4diag.config.plan import Interval
from ai4diag.evaluation.bootstrap import intervals

right = voice["correct"].to_numpy(float)


def share_right(weights):
    """Share of cases that are right, for resamples x cases of weights."""
    return (weights @ right / weights.sum(axis=1))[:, None]


settings = Interval(level=0.95, resamples=2000, unit="patient_id", seed=7)
product = intervals(share_right, voice["patient_id"], settings)
single = intervals(share_right, np.arange(len(voice)), settings)
mine = patient_interval(voice["patient_id"].to_numpy(), right) or (math.nan, math.nan)
limits = {
    "people, by your function": mine,
    "people, by ai4diag": (product.low[0], product.high[0]),
    "single recordings (wrong)": (single.low[0], single.high[0]),
}
figure, axes = plt.subplots(figsize=(7, 2))
for place, (label, (low, high)) in enumerate(limits.items()):
    axes.hlines(place, low, high, color="0", linewidth=3, linestyle="--" if "wrong" in label else "-")
    print(f"{label}: {low:.3f} to {high:.3f}")
axes.set_yticks(range(3), limits)
axes.set_ylim(2.5, -0.5)
axes.set_xlabel("share of recordings that are right, 95 % interval")
figure.tight_layout()

# %% [markdown] tags=["trainer"]
# **47 to 75 minutes.** This is the hardest exercise; 15 minutes. Pair a learner who programs with one who does not: the
# second one explains the three steps aloud, the first one types. Who is stuck after eight minutes takes hint 2.
#
# Watch for: recordings drawn instead of people (the check says so); the mean of the people's shares instead of the
# share of all cases (a person with one recording then weighs as much as one with seven); drawing without replacement,
# which gives no spread at all.
#
# **Misconception:** "More recordings per person give narrower intervals." **Say:** A little. More *people* do. Ask ten
# more people, not ten more questions.
#
# **Misconception:** "95 % sure means that 95 % of the patients lie within." **Say:** It is about the number, not about
# patients: of 100 such studies, about 95 intervals hold the true value.

# %% [markdown]
# ## When the answer is an area
#
# The cardiologist also has a CT of Matteo's heart, and another model marks the calcium in the walls of his arteries,
# pixel by pixel. How well does its area agree with the one that a radiologist drew? **Dice** is twice the overlap
# divided by the sum of both areas: 1 when they are equal, 0 when they do not meet.
#
# Now the case that ruins tables: many people have no calcium at all. The radiologist marks nothing, and a good model
# marks nothing. Dice is 0 / 0. Count it as 1, and a model that never marks anything looks splendid in a healthy crowd.
# Count it as 0, and it is punished for being right. It is **undefined**: such patients are counted and reported by
# themselves (did the model rightly mark nothing?), and left out of the mean.
#
# ### Exercise: Dice, empty masks included
#
# Define two functions:
#
# - `dice(truth, predicted)`: two arrays of the same shape, of 0 and 1 or of False and True; a number from 0 to 1, or
#   `math.nan` when both are empty;
# - `mean_dice(pairs)`: a list of (truth, predicted); a tuple of two numbers, the mean over the pairs whose Dice is
#   defined (`math.nan` if there is none), and how many are undefined (a whole number).

# %% tags=["exercise:m04.dice"]
def dice(truth, predicted):
    # --- solution
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    total = int(truth.sum() + predicted.sum())
    return float(2 * (truth & predicted).sum() / total) if total else math.nan
    # --- end


def mean_dice(pairs):
    # --- solution
    values = [dice(truth, predicted) for truth, predicted in pairs]
    defined = [value for value in values if not math.isnan(value)]
    return (sum(defined) / len(defined) if defined else math.nan), len(values) - len(defined)
    # --- end


# %% [markdown]
# Try it on a drawn case. The radiologist's area is a disc; the model's is the same disc, a little too low. Dark, at the
# top: what only the radiologist marked. The middle tone: what both did. Light, at the bottom: what only the model did.

# %%
rows, columns = np.mgrid[:40, :40]
drawn_truth = (rows - 18) ** 2 + (columns - 20) ** 2 < 100
drawn_model = (rows - 22) ** 2 + (columns - 20) ** 2 < 100
empty = np.zeros_like(drawn_truth)
figure, axes = plt.subplots(figsize=(2.6, 2.6))
axes.imshow(np.select([drawn_truth & drawn_model, drawn_truth, drawn_model], [0.5, 0.1, 0.8], 1), cmap="gray", vmin=0)
axes.set_xlabel("column (pixel)")
axes.set_ylabel("row (pixel)")
figure.tight_layout()
print("shifted disc:", dice(drawn_truth, drawn_model))
print("both empty:  ", dice(empty, empty))
print("model marks nothing, disc missed:", dice(drawn_truth, empty))

# %% [markdown] tags=["trainer"]
# **75 to 93 minutes.** Draw two overlapping circles on the board; let the room estimate the Dice before it is computed.
# Ten minutes for the exercise. Those who finish early answer: what would the mean be if empty pairs counted as 1, in a
# screening programme with 90 healthy of 100?
#
# **Misconception:** "Add a small number to the denominator, then nothing is undefined." **Say:** Then two empty masks
# get a 1 that nobody earned, and the mean depends on how many healthy people were tested.

# %% [markdown]
# ## Read a report like a sceptic
#
# Back to Matteo. The report of `heart-disease` has its headline, and a table by hospital, sex and age. Read "In plain
# words", then **Subgroups**, then **What must not be concluded**.

# %%
run.report

# %% [markdown]
# The same, by hospital, as a table and a figure. A dot is the AUROC, the line its 95 % interval; the dotted line at 0.5
# is chance.

# %%
estimates = run.table()
sites = estimates[(estimates["name"] == "auroc") & estimates["subgroup"].str.startswith("site=")].copy()
sites["site"] = sites["subgroup"].str.removeprefix("site=")
figure, axes = plt.subplots(figsize=(7, 2.2))
axes.hlines(sites["site"], sites["low"], sites["high"], color="0")
axes.plot(sites["value"], sites["site"], "o", color="0")
axes.axvline(0.5, linestyle=":", color="0.4")
axes.margins(y=0.2)
axes.set_xlabel("AUROC (no unit), 95 % interval")
figure.tight_layout()
print(test.groupby("site")["truth"].agg(patients="size", ill="sum"))
sites[["site", "value", "low", "high", "n_patients", "note"]]

# %% [markdown]
# ### Exercise: what the report does not show
#
# Define two names:
#
# - `reading`, a mapping read off the report: `"weakest"`: the hospital with the lowest AUROC (its name, a text);
#   `"weakest_low"`: the lower limit there (three decimals will do); `"healthy_in_switzerland"`: on how many healthy
#   patients of the test part every statement about Swiss false alarms rests; `"missed_women"`: of 100 ill women, how
#   many the model misses (a whole number, rounded; sensitivity of the subgroup `sex=female`);
# - `not_shown(rows)`: a function. `rows` is a list of mappings with `subgroup` (text), `value`, `low` and `high` (AUROC
#   and its limits, NaN where there is no interval). Return the sorted list of those subgroups for which it is *not*
#   shown that the model does better than chance: the interval does not lie wholly above 0.5, or there is none.

# %% tags=["exercise:m04.report"]
# --- solution
weakest = sites.sort_values("value").iloc[0]
female = estimates[(estimates["name"] == "sensitivity") & (estimates["subgroup"] == "sex=female")].iloc[0]
swiss = test.query("site == 'switzerland'")
reading = {
    "weakest": str(weakest["site"]),
    "weakest_low": round(float(weakest["low"]), 3),
    "healthy_in_switzerland": int((swiss["truth"] == 0).sum()),
    "missed_women": round(100 * (1 - float(female["value"]))),
}
# --- learner
# reading = {"weakest": ..., "weakest_low": ..., "healthy_in_switzerland": ..., "missed_women": ...}
# --- end


def not_shown(rows):
    # --- solution
    return sorted(row["subgroup"] for row in rows if not row["low"] > 0.5)
    # --- end


# %% [markdown] tags=["trainer"]
# **93 to 110 minutes.** Let pairs of different companies play buyer and seller: the seller has one sentence, the buyer
# asks one question that the report answers, then they change. Good questions: which hospital is most like mine? How
# many women were tested? What happens under the age of 50?
#
# **Misconception:** "Switzerland has the best AUROC." **Say:** One healthy patient. Look at the counts before the
# value. And an interval above 0.5 there says that this one healthy patient ranked low, nothing about the next one.
#
# Discussion: how many of 100 ill women does the model miss, how many of 100 ill men, at the same threshold? Is it the
# model, the threshold, or the number of women tested? What would you do before selling it?

# %% [markdown]
# ## Key points
#
# - Sensitivity looks at the ill, specificity at the well; without ill or well patients they are undefined, never 0 or
#   1.
# - A PPV belongs to a prevalence. Compute it for the place where the model will be used: `evaluate.prevalence`.
# - An interval draws whole patients. Drawing single cases promises a certainty that is not there.
# - Dice of two empty masks is undefined; count such cases, and report them by themselves.
# - Read counts before values, and lower limits before both. What has no interval has not been shown.
# - Which mistake costs more is a decision of people, made before the test part is looked at.
#
# More: [estimates and intervals](../docs/concepts/estimates-and-intervals.md), [read a
# report](../docs/how-to/read-a-report.md), [score another vendor's
# answers](../docs/how-to/evaluate-external-predictions.md).

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]

# %% [markdown] tags=["trainer"]
# **Last 10 minutes.** Key points together, quiz alone, seven minutes. Question 4 is missed most often; draw the two
# rows of the table again. Close with the three questions on the wall: can everybody answer the practitioner now?
