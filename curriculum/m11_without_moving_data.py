# ---
# jupyter:
#   ai4diag:
#     id: m11
#     title: Evaluate without moving data
#     badge: Steward
#     ambitions: [collaboration]
#     minutes: 150
#     sections:
#       Story: 10
#       The model travels: 30
#       What may leave: 25
#       Put the answers together: 25
#       Read the disagreement: 25
#       Learn without moving rows: 25
#       Key points: 3
#       Quiz: 7
#     needs: [m10]
#     objectives:
#       - run a model where the data are, and score it there
#       - list an estimate for each hospital with n and interval
#       - refuse what must not leave a hospital, small counts included
#       - compute a pooled figure and its interval from counts alone
#       - explain a disagreement between hospitals by prevalence, missing values and chance
#       - calculate a step of federated learning by hand, and name what ai4diag does not do yet
#     data: [uci_heart]
#     pipelines: [heart-disease]
#     runs: [heart-disease]
# ---

# %%
import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ai4diag import lab
from ai4diag.course import check, start
from ai4diag.data.prepared import Prepared
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.files import write_json
from ai4diag.pipelines.workspace import Workspace

here = start("m11")
here

# %% [markdown]
# ## Story
#
# Péter is 61 and has had pain in his chest for three weeks. In Budapest his doctors consider an angiography: a tube
# through an artery to the heart. It finds narrow vessels, and now and then it does harm. A company offers a model
# that tells from ten findings how likely a narrow vessel is. It learned from four hospitals, and its page begins with
# one AUROC for all of them.
#
# The clinic in Budapest asks: **is it as good with us?** And: **may we find that out without giving our patients'
# data away?** A wrong answer costs either way: a model that fails here sends Péter home with a narrow artery, or
# others under the tube for nothing.
#
# The four hospitals are real (Cleveland, Budapest, Zurich and Basel, Long Beach; published data of the 1980s). Four
# files, one per hospital. Today each file stays where it is. What travels is the model, and numbers about many.
#
# | word | here |
# |---|---|
# | site | a hospital whose data stay there |
# | bundle | the model as a folder that can be handed over (not the git bundle of lesson 10) |
# | aggregate | a number about many patients: a count, a sum |
# | coordinator | who puts the aggregates together, and never sees a row |

# %% [markdown] tags=["trainer"]
# **Groups of four** from different companies; whoever comes from a hospital takes one. Each person *is* a hospital
# (Cleveland, Budapest, Switzerland, VA). From "What may leave" on, one of them is coordinator as well. On paper:
# every hospital writes its aggregates on a card, and only cards cross the table. It makes the point better than any
# slide.
#
# **Say honestly at the start:** ai4diag has no live federation yet. Nothing is connected to anything today. Sites can
# score a bundle on their own data and hand over files; learning across sites is done by hand at the end, to
# understand it.
#
# **Timing.** Two breaks: after "What may leave" and after "Read the disagreement".

# %% [markdown]
# ## The model travels
#
# The company's run, as you know runs by now. It was tested on patients of all four hospitals.

# %%
run = lab.run("heart-disease")
run

# %% [markdown]
# The first line is pooled: all test patients in one pot. The page begins with it. Here is the same
# run for one hospital, in the way it would really be done. Budapest has a file of its own patients:

# %%
workspace = Workspace(here.root)
columns = [column.name for column in workspace.catalogue.card("uci_heart").table.columns]
budapest = here.folder / "budapest"
budapest.mkdir(exist_ok=True)
patients = pd.read_csv(here.root / "data/uci_heart/processed.hungarian.data", header=None, names=columns, dtype=str)

test = run.predictions.query("part == 'test' and site == 'hungarian'")  # patients the model did not learn from
own = patients.iloc[test["case_id"].str[-4:].astype(int) - 1].assign(case_id=test["case_id"].to_numpy())
own.drop(columns="num").to_csv(budapest / "patients.csv", index=False)
print(f"{len(own)} patients of Budapest, {len(columns) - 1} findings; the outcome (num) is not given to the model")

# %% [markdown]
# The company sends its **bundle**: weights, settings, checksums, no data. The clinic asks it about its own patients.
# `ai4diag predict` checks every file of the bundle before it uses it, and nothing of the bundle is executed.

# %%
bundle = here.root / "pipelines/heart-disease/out/bundle"
# !ai4diag predict {bundle} {budapest}/patients.csv --out {budapest}/answers

# %% [markdown]
# Now the clinic puts the outcomes beside the answers, and scores them. `ai4diag evaluate --predictions` needs no
# model and no network; it would score another vendor's answers just as well.

# %%
answers = pd.read_csv(budapest / "answers/predictions.csv").drop(columns="remark")
answers.merge(test[["case_id", "patient_id", "truth"]], on="case_id").to_csv(budapest / "scored.csv", index=False)
(budapest / "plan.yaml").write_text(
    "task: tabular\nclasses: [healthy, disease]\nevaluate:\n  primary: auroc\n"
    "  interval: {level: 0.95, resamples: 2000, unit: patient_id}\n  operating_point: {threshold: 0.5}\n"
)
# !ai4diag evaluate --predictions {budapest}/scored.csv --plan {budapest}/plan.yaml --out {budapest}/report

# %% [markdown]
# That is Budapest's own evaluation: one line per estimate, with an interval, and `n` is the number of its patients.
# The rows never left `budapest/`. Compare with the pooled table above: which lines differ, and are the intervals
# wider?
#
# The other three do the same. In this room we have the shortcut: the run holds `site` as an attribute, and its recipe
# says `subgroups: [site, sex, age_band]`. So its table has the estimates of every hospital already.

# %%
table = run.table()
table[table["name"] == "auroc"][["part", "subgroup", "value", "low", "high", "n", "note"]].round(3)

# %% [markdown]
# ### Exercise: one line for each hospital
#
# Write `per_site(rows, name)`. `rows` is a list of dicts with the keys `name`, `part`, `subgroup`, `value`, `low`,
# `high`, `n` (`table.to_dict("records")`). Return a dict: hospital (without `site=`) to the list `[n, value, low,
# high]` of the estimate `name` on the part `test`. A hospital whose value is undefined (NaN) is left out.

# %% tags=["exercise:m11.sites"]
def per_site(rows, name):
    # --- solution
    return {
        row["subgroup"].removeprefix("site="): [row["n"], row["value"], row["low"], row["high"]]
        for row in rows
        if row["name"] == name and row["part"] == "test"
        if row["subgroup"].startswith("site=") and not math.isnan(row["value"])
    }
    # --- end

# %%
SITES = ["cleveland", "hungarian", "switzerland", "va"]
figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
for axis, name in zip(axes, ["auroc", "accuracy"], strict=True):
    shown = table[(table["name"] == name) & (table["part"] == "test")].set_index("subgroup")
    lines = ["all", *(f"site={site}" for site in SITES)]
    for height, line in enumerate(reversed(lines)):
        value, low, high, n = shown.loc[line, ["value", "low", "high", "n"]]
        axis.plot([low, high], [height, height], color="black", linewidth=1.5)
        axis.plot(value, height, "s" if line == "all" else "o", color="black")
        axis.text(1.02, height, f"n = {n:.0f}", va="center", fontsize=8)
    axis.set_yticks(range(len(lines)), [line.removeprefix("site=") for line in reversed(lines)])
    axis.set_xlabel(f"{name} (95 % interval)")
    axis.set_xlim(0.5, 1.0)
figure.tight_layout()

# %% [markdown]
# *What to see:* one line per hospital, its length is the interval, the square is all four together. The pooled line
# is the shortest, and belongs to no hospital. Switzerland has the best values, and 16 patients of whom one is
# healthy: its AUROC compares everybody with this one, and even its interval flatters. The run's note says so.

# %% [markdown] tags=["trainer"]
# **Misconception:** "The pooled AUROC is what a new hospital can expect." **Say:** nobody is treated in the pool. The
# page of the pipeline also says what happened when one hospital was left out of training: look it up together. Ask
# each "hospital" in the room: would *you* sign for your line?
#
# Watch for answers that match `site=` anywhere, or take `auroc_difference` along. Who asks why the difference has n
# of all patients: it compares one hospital with all others.

# %% [markdown]
# ## What may leave
#
# A hospital's report stays in the hospital. For a common result it sends a small file. What may stand in it is agreed
# **before**, as a list of what is allowed:
#
# | key | form |
# |---|---|
# | `site` | one of `cleveland`, `hungarian`, `switzerland`, `va` |
# | `n` | a whole number: patients |
# | `n_disease`, `n_correct` | whole numbers: of these, how many are ill, and how many the model judged rightly |
# | `sum_score`, `sum_squared_error` | a number: sums over the patients |
#
# No rows, no names of cases, no free text. And small counts stay, because they are about somebody: "1 of 16 is
# healthy" tells whoever knows one of the sixteen. A count **and its rest** must be at least 5. With fewer than 5
# patients nothing but the site's name leaves. Ours is a usual rule, and a hospital may ask for a stricter one.

# %%
def result_of(site):
    """Return what a hospital could say, before anything is held back."""
    rows = run.predictions.query("part == 'test' and site == @site")
    score, truth = rows["score"], rows["truth"]
    return {
        "site": site,
        "n": len(rows),
        "n_disease": int(truth.sum()),
        "n_correct": int(((score >= 0.5) == (truth == 1)).sum()),
        "sum_score": float(score.sum()),
        "sum_squared_error": float(((score - truth) ** 2).sum()),
    }


pd.DataFrame([result_of(site) for site in SITES]).set_index("site").round(2)

# %% [markdown]
# ### Exercise: only allowed aggregates leave
#
# Write `refused(result)`. It gets a dict as a hospital would like to send it, and returns the list of the **keys that
# must not leave**:
#
# - a key that is not in the table above;
# - a key whose value has not the form of the table (a list or a text where a number must be; a count such as 61.5;
#   another site);
# - `n_disease` and `n_correct`, each when it is under 5, or when `n` minus it is under 5;
# - every key but `site` when `n` is under 5.
#
# `n` itself is always a whole number here.

# %% tags=["exercise:m11.leave"]
# --- solution
def may_leave(key, value, n):
    if key == "site":
        return value in SITES
    if n < 5:
        return False
    if key in ("n_disease", "n_correct"):
        return type(value) is int and min(value, n - value) >= 5
    return key in ("n", "sum_score", "sum_squared_error") and type(value) in (int, float)
# --- learner
# --- end


def refused(result):
    # --- solution
    return [key for key, value in result.items() if not may_leave(key, value, result["n"])]
    # --- end

# %% [markdown]
# Each hospital now writes its file, with your rule as the gate:

# %%
for site in SITES:
    result = result_of(site)
    held_back = refused(result)
    write_json(here.folder / f"site-{site}.json", {key: value for key, value in result.items() if key not in held_back})
    print(f"{site:12} holds back: {', '.join(held_back) or 'nothing'}")

# %% [markdown]
# One line per hospital: the smallest hospital says least. That is the price, and it is right that the coordinator
# sees it.
#
# **What this does not do.** Two files of the same hospital, one before and one after Péter came, differ by Péter.
# Where the total of all four is known as well, a count that one hospital held back is the total minus the others. Sums
# that are asked for often enough can be taken apart. Files are not encrypted here. A rule for small counts is
# necessary, not sufficient; who may ask, how often, and for what, is for people and contracts.

# %% [markdown] tags=["trainer"]
# **Misconception:** "Aggregates are anonymous." **Say:** an average of one is a person, and the difference of two
# sums is one, too. Let a group find the healthy Swiss patient: n = 16, n_disease = 15. Then ask who could know him.
#
# Frequent wrong answers: testing the count and not its rest; deleting keys on a list of bad ones instead of keeping
# those on a list of good ones. Who asks for the limit: 5 protects the patients here; the 10 of `minimum_n`, below
# which a report masks a group, protects its readers from numbers that say nothing.
#
# In this room the published table shows what Switzerland holds back, so that we can check the arithmetic. A real
# coordinator has no such table, and must not get one beside the files.
#
# **Discuss (hospital and company in pairs):** who writes the list of what is allowed, and who can change it alone?

# %% [markdown]
# ## Put the answers together
#
# The coordinator has four files, and no row.

# %%
files = [json.loads((here.folder / f"site-{site}.json").read_text(encoding="utf-8")) for site in SITES]
pd.DataFrame(files).set_index("site").round(2)

# %% [markdown]
# ### Exercise: the weighted mean is the hand sum
#
# Write `pooled(results)` and return the list `[accuracy, n]`. `results` is a list of dicts with `n` and, where it was
# not held back, `n_correct`. The accuracy is that of all patients of whom `n_correct` is known, and `n` is their
# number. When nobody sent it, return `[math.nan, 0]`.

# %% tags=["exercise:m11.pool"]
def pooled(results):
    # --- solution
    known = [result for result in results if "n_correct" in result]
    n = sum(result["n"] for result in known)
    return [sum(result["n_correct"] for result in known) / n if n else math.nan, n]
    # --- end

# %%
value, n = pooled(files)
print(f"from the files:  accuracy {value:.4f} of {n} patients")
print(f"from all rows:   accuracy {run['accuracy'].value:.4f} of {run['accuracy'].n} patients")
sent = [file["site"] for file in files if "n_correct" in file]
rows = run.predictions.query("part == 'test' and site in @sent")
print(f"from rows of these hospitals alone: {((rows['score'] >= 0.5) == (rows['truth'] == 1)).mean():.4f}")

# %% [markdown]
# The first and the last line agree: the mean of the hospitals, weighted by patients, *is* the figure over their rows.
# What differs from the second line is who is missing.
#
# This works for whatever is a mean over patients: accuracy, Brier score, sensitivity over the ill. It does not work
# for an AUROC, which compares every ill patient with every healthy one, also those of *other* hospitals:

# %%
aurocs = table[(table["name"] == "auroc") & table["subgroup"].str.startswith("site=")]
print(f"weighted mean of the hospitals' AUROCs  {np.average(aurocs['value'], weights=aurocs['n']):.4f}")
print(f"AUROC of all patients together          {run['auroc'].value:.4f}")

# %% [markdown]
# Two different questions, two numbers. Within a hospital: does the model rank *its* ill above *its* healthy? Across:
# does it also rank the ill of Long Beach above the healthy of Budapest? The second is easier when hospitals differ in
# how ill their patients are, and no doctor needs it.
#
# ### Exercise: an interval from two counts
#
# A bootstrap needs rows. From counts alone, Wilson's formula gives an interval of a share p = k / n; z is 1.96 for 95
# %:
#
#     middle = (p + z²/(2n)) / (1 + z²/n)
#     half   = z / (1 + z²/n) · √( p(1-p)/n + z²/(4n²) )
#     low, high = middle - half, middle + half
#
# Write `interval(k, n)` and return the list `[low, high]`. Without patients (`n == 0`) both are `math.nan`.

# %% tags=["exercise:m11.interval"]
def interval(k, n):
    # --- solution
    if n == 0:
        return [math.nan, math.nan]
    z, p = 1.96, k / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    # --- end

# %%
bootstrap = table[(table["name"] == "accuracy") & (table["part"] == "test")].set_index("subgroup")
for file in files:
    site, low, high = file["site"], *interval(file.get("n_correct", 0), file["n"] if "n_correct" in file else 0)
    there = bootstrap.loc[f"site={site}"]
    print(f"{site:12} from counts [{low:.3f}, {high:.3f}]   from rows [{there['low']:.3f}, {there['high']:.3f}]")

# %% [markdown]
# One line per hospital. Where both are there, the interval from two counts is close to the one that needed every row.
# *nan* says that the hospital held its count back: no number is better than a guess.

# %% [markdown]
# ## Read the disagreement
#
# The hospitals differ. Before you say "the model is worse there", look at three ordinary reasons: another mix of
# patients, other missing values, and chance. Chance first, from the run:

# %%
difference = table[table["name"] == "auroc_difference"].set_index("subgroup")
difference.loc[[f"site={site}" for site in SITES], ["value", "low", "high"]].round(3)

# %% [markdown]
# Each line is the AUROC of one hospital minus that of all others. An interval that reaches over 0 says: these
# patients do not show a difference. It does not say that there is none.
#
# The mix and the missing values, as each hospital can count them in its own file:

# %%
raw = {}
for site in SITES:
    values = pd.read_csv(
        here.root / f"data/uci_heart/processed.{site}.data", header=None, names=columns, na_values="?"
    )
    values["chol"] = values["chol"].where(values["chol"] != 0)  # a cholesterol of 0 was not measured
    missing = values[["chol", "trestbps", "fbs", "thalach", "oldpeak"]].isna().mean()
    raw[site] = pd.Series({"patients": len(values), "ill": (values["num"] > 0).mean(), **missing})
mix = pd.DataFrame(raw).T
greys = ["0.1", "0.4", "0.65", "0.85"]
axis = mix.drop(columns="patients").T.plot.bar(figsize=(9, 2.8), color=greys, edgecolor="black")
axis.set_ylabel("share of patients")
axis.set_xticklabels(["ill", *(f"{name}\nmissing" for name in mix.columns[2:])], rotation=0)
mix.round(2)

# %% [markdown]
# *What to see:* the first group of bars is how many patients are ill. It runs from about a third to nearly all. The
# others are shares of missing values: in Switzerland nobody's cholesterol was measured.
#
# A missing value can tell the hospital, and the hospital tells the prevalence. A model can learn that: it then looks
# good in the pool, and says nothing about Péter. Ask of every disagreement: what could the model have *recognised*?
#
# ### Exercise: compare like with like
#
# Accuracy and PPV depend on how many are ill. Write `at_prevalence(counts, prevalence)`. `counts` is a dict with
# `tp`, `fn`, `tn`, `fp` (ill and found, ill and missed, healthy and spared, healthy and alarmed). Return `[accuracy,
# ppv]` as they would be at another `prevalence` (a share, 0 to 1) with the same sensitivity and specificity. Without
# ill or without healthy patients both are `math.nan`; where nobody would be called ill, the PPV is.

# %% tags=["exercise:m11.prevalence"]
def at_prevalence(counts, prevalence):
    # --- solution
    ill, healthy = counts["tp"] + counts["fn"], counts["tn"] + counts["fp"]
    if not ill or not healthy:
        return [math.nan, math.nan]
    found = counts["tp"] / ill * prevalence
    spared = counts["tn"] / healthy * (1 - prevalence)
    called = found + (1 - prevalence) - spared
    return [found + spared, found / called if called > 0 else math.nan]
    # --- end

# %%
for site in SITES:
    rows = run.predictions.query("part == 'test' and site == @site")
    ill, called = rows["truth"] == 1, rows["score"] >= 0.5
    counts = {"tp": (ill & called).sum(), "fn": (ill & ~called).sum()}
    counts |= {"tn": (~ill & ~called).sum(), "fp": (~ill & called).sum()}
    (as_is, ppv), (common, common_ppv) = (at_prevalence(counts, p) for p in (ill.mean(), 0.5))
    own, same = f"accuracy {as_is:.2f}, PPV {ppv:.2f}", f"accuracy {common:.2f}, PPV {common_ppv:.2f}"
    print(f"{site:12} {ill.mean():5.0%} ill: {own} | at 50 %: {same}")

# %% [markdown]
# Left of the bar, as it is; right of it, at 50 % for everybody. Compare the order of the hospitals. (With one healthy
# patient, Switzerland's specificity is 0 or 1; its right side means nothing.) What is left of a difference at the
# same prevalence is worth a conversation with that hospital: how were patients chosen, how was each finding measured?

# %% [markdown] tags=["trainer"]
# **Misconception:** "PPV belongs to the model." **Say:** it belongs to the model *and* the waiting room. Same model,
# same skill: at 36 % ill another PPV than at 93 %.
#
# **Exercise on paper, five minutes:** each group writes one paragraph to the VA hospital that explains its line. Good
# ones name n, the interval, the share of ill patients, missing cholesterol, and one question. Bad ones rank the
# hospitals.

# %% [markdown]
# ## Learn without moving rows
#
# **Live federation does not exist in ai4diag yet.** There is no server to connect to and no round to wait for. What
# follows is the arithmetic, by hand, so that you know what such systems send and what they cannot hide. Six columns
# of the patients that the run learned from (training and validation), on a common scale. Even the
# scale comes from sums: n, sum, and sum of squares.

# %%
prepared = Prepared.open(workspace.pipeline("heart-disease").out / "prepared")
fold = prepared.folds()[0]
column = {item["name"]: prepared.features[:, i] for i, item in enumerate(prepared.facts["features"])}
chosen = [column["age"], column["sex"], column["thalach"], column["exang"], column["oldpeak"], column["cp"] == 3]
values = np.column_stack([np.asarray(item, float) for item in chosen])  # (patients, 6); cp 3: no pain
ill, site_of = prepared.index["truth"].to_numpy(), prepared.index["site"].to_numpy()
learn = np.isin(np.arange(len(ill)), np.concatenate([fold.train, fold.validation]))

parts = [values[(site_of == site) & learn] for site in SITES]  # each stays in its hospital; three sums leave it
sums = [(len(part), part.sum(0), (part**2).sum(0)) for part in parts]
n, total, squares = (sum(part) for part in zip(*sums, strict=True))
mean, spread = total / n, np.sqrt(squares / n - (total / n) ** 2)
everything = np.column_stack([np.ones(len(ill)), (values - mean) / spread])  # a first column for the constant
print("mean from sums ", mean.round(3), "\nmean from rows ", values[learn].mean(0).round(3))

# %% [markdown]
# The two lines agree: no row was needed for the mean.
#
# ### Exercise: a step of learning from sums
#
# A logistic regression has coefficients `w`; its answers are `p = 1 / (1 + np.exp(-X @ w))`. One step of learning
# follows the gradient of the log loss. Write two functions:
#
# - `site_sums(X, y, w)`, in a hospital: `X` is an array `(patients, columns)`, `y` has 0 or 1 per patient, `w` a
#   coefficient per column. Return the dict `{"n": number of patients, "gradient": array}` and nothing else. The
#   gradient is the **sum** over the patients of `p - y` times the patient's row: `X.T @ (p - y)`.
# - `federated_step(w, sent, rate)`, at the coordinator: `sent` is the list of these dicts. Return `w` minus `rate`
#   times the mean gradient of all patients of all hospitals.

# %% tags=["exercise:m11.federated"]
def site_sums(X, y, w):
    # --- solution
    p = 1 / (1 + np.exp(-X @ w))
    return {"n": len(y), "gradient": X.T @ (p - y)}
    # --- end


def federated_step(w, sent, rate):
    # --- solution
    gradient = sum(np.asarray(item["gradient"]) for item in sent)
    return w - rate * gradient / sum(item["n"] for item in sent)
    # --- end

# %% [markdown]
# With your two functions: a model of each hospital alone, one of all rows in one table, one from sums, and *federated
# averaging*, in which each hospital takes 20 steps alone and only the coefficients travel, weighted by n.

# %%
hospitals = {site: (everything[(site_of == site) & learn], ill[(site_of == site) & learn]) for site in SITES}


def fitted(parts, steps, w):
    """Take steps with all parts together, from sums alone."""
    for _ in range(steps):
        w = federated_step(w, [site_sums(X, y, w) for X, y in parts], rate=0.5)
    return w


zero, steps = np.zeros(7), 300
models = {f"{site} alone": fitted([part], steps, zero) for site, part in hospitals.items()}
models["all rows"] = fitted([(everything[learn], ill[learn])], steps, zero)
models["from sums"] = fitted(list(hospitals.values()), steps, zero)
averaged = zero
for _ in range(steps // 20):
    each = [fitted([part], 20, averaged) for part in hospitals.values()]
    averaged = np.average(each, axis=0, weights=[len(y) for _, y in hospitals.values()])
models["averaged"] = averaged
gaps = {name: abs(models[name] - models["all rows"]).max() for name in ("from sums", "averaged")}
print("largest difference to 'all rows':", {name: float(f"{gap:.2g}") for name, gap in gaps.items()})

# %% [markdown]
# *From sums* gives the coefficients of *all rows*, but for the last bits: nothing was lost by not moving data.
# *Averaged* gives others, near them: fewer messages, another answer. Side by side, on the test patients of each
# hospital, scored as ai4diag scores everything:

# %%
rows = np.flatnonzero(np.isin(np.arange(len(ill)), fold.test))
plan = run.record.plan.model_copy(
    update={"subgroups": ("site",), "interval": run.record.plan.interval.model_copy(update={"resamples": 200})}
)
cases = prepared.index.iloc[rows].assign(part="test", fold=0)
lines = {}
for name, w in models.items():
    scored = cases.assign(score=1 / (1 + np.exp(-everything[rows] @ w)))
    found = evaluate(scored, task="tabular", classes=prepared.classes, plan=plan).estimates
    shown = {item.subgroup: item for item in found if item.name == "auroc"}
    lines[name] = {key: f"{item.value:.2f} [{item.low:.2f}, {item.high:.2f}]" for key, item in shown.items()}
pd.DataFrame(lines).T

# %% [markdown]
# One row per model, one column per hospital, each with an interval (200 resamples). Look along a column: does
# learning together help *this* hospital, beyond its interval? Then at the row *switzerland alone*: all of its
# patients to learn from were ill, so that it knows nothing of health.
#
# What the sums reveal: with the gradient of a hospital of three patients one can often compute the patients. The rule
# for small counts holds here, too; real systems add secure sums and noise. Those are engines of their own (such as
# NVIDIA FLARE). ai4diag will use one; it does not yet.

# %% [markdown] tags=["trainer"]
# The group that plays hospitals with cards can do *one* step by hand: each reads its gradient aloud (three digits),
# the coordinator adds. Then all see that the coordinator never asked for a row.
#
# **Misconception:** "Federated means private." **Say:** it means that rows stay. What travels still says something;
# how much, one must ask of every system. **And:** "federated is worse than pooled." Sums are exactly pooled;
# averaging is the variant that differs.
#
# **Say again:** not in the product yet. Do not let anybody leave with the belief that they can connect hospitals
# tomorrow.

# %% [markdown]
# ## Key points
#
# - The model can travel instead of the data: `ai4diag predict BUNDLE`, then `ai4diag evaluate --predictions`, in the
#   hospital.
# - Report each hospital with n and interval, beside the pooled figure; nobody is treated in the pool.
# - A list says what may leave: counts and sums. Small counts stay, and so do counts whose rest is small.
# - Means over patients add up exactly from counts. An AUROC does not; say which question it answers.
# - Read a disagreement by chance, prevalence and missing values before you blame the model.
# - Learning from sums equals learning from rows. Live federation does not exist in ai4diag yet.

# %% [markdown]
# ## Quiz

# %% tags=["quiz"]
