# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 · Search under a budget
#
# | | |
# |:--|:--|
# | minutes | 4 to run, about 60 to work through |
# | memory | 900 MB |
# | GPU | not needed |
# | seed | 0 to 4 |
# | data | 569 breast tumours; they come with scikit-learn, nothing is downloaded |
#
# A model has settings that no training finds: how strong the leash is, how fast to learn, which steps go in front.
# You search for them, and you pay for every try. Here three searchers race for the same seconds, a front of best
# bargains grows, hopeless tries are stopped halfway, and a search is killed and rises again.
#
# How to work: where it says **Predict**, make up your mind before you run the cell. Being wrong is how it sticks.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from manyfit.lessons import play, style

# %%
style()
X, y = load_breast_cancer(return_X_y=True)
Z = StandardScaler().fit_transform(X)  # without the answers; section 3 scales inside the folds, as one should
cv = StratifiedKFold(5, shuffle=True, random_state=0)
print(f"{len(y)} tumours, {X.shape[1]} measurements of each; {np.mean(y == 1):.0%} are benign")

# %% [markdown]
# ## 1 · A grid
#
# The plainest search: write down a few values of each setting, and try every combination. `C` loosens the leash
# of a logistic regression (small is tight), `class_weight="balanced"` makes the rarer class count as much as the
# other.
#
# Each candidate is scored on five folds that it was not trained on. The score is minus the **log loss**: 0 is
# perfect, and whoever is sure and wrong pays most.
#
# **Predict.** How many fits are that, and how often must the table be read for them?

# %%
from manyfit.linear_model import LogisticRegression
from manyfit.model_selection import GridSearchCV, OptunaSearchCV, RandomizedSearchCV

grid = {"C": np.logspace(-4, 4, 17), "class_weight": [None, "balanced"], "fit_intercept": [True, False]}
searched = GridSearchCV(LogisticRegression(), grid, scoring="neg_log_loss", cv=cv)
print(searched.explain(Z, y))

# %% [markdown]
# `explain` tried a few fits and timed them. That is a forecast; now the search itself.
#
# How sure can we be of its scores? Each is a mean of five folds, and the folds differ. By how much such a mean is off
# by chance, its **standard error**, is about their standard deviation / √5.

# %%
searched.fit(Z, y)
results = searched.cv_results_
noise = results["std_test_score"][searched.best_index_] / np.sqrt(5)
print(searched.plan_)
print(f"foretold {searched.plan_.estimate:.2f} s, took {searched.plan_.seconds:.2f} s")
print(f"best {searched.best_score_:.3f}, give or take {noise:.3f}, with {searched.best_params_}")

# %% [markdown]
# **Explain.** All candidates are one *population*: they are trained together and share what they need from the
# table, so it is read a few times, not once for each fit. Remember that for the race.

# %%
names = [f"weights {weight}, intercept {there}" for weight in (None, "balanced") for there in (True, False)]
plt.plot(grid["C"], -results["mean_test_score"].reshape(17, 4), ".-", label=names)
plt.axhspan(noise - searched.best_score_, -noise - searched.best_score_, alpha=0.25, label="standard error")
plt.gca().set(xscale="log", yscale="log", xlabel="C", ylabel="log loss (low is good)")
plt.legend()
plt.show()

# %% [markdown]
# **Explain.** The leash matters a lot, the weights hardly. A grid does not know that, and tries every leash once
# for every other setting.
#
# ## 2 · Three searchers, the same seconds
#
# | searcher | how it chooses |
# |:--|:--|
# | grid | the next combination of a list |
# | random | draws each setting anew: no value of `C` is ever tried twice |
# | TPE | draws at random until it has seen ten results; then goes more often where the good ones lie |
#
# `OptunaSearchCV` asks any of them, eight trials at a time, until its `timeout`. Random and TPE may take any `C`
# between the limits, not only those of a list.

# %%
import optuna
from optuna.samplers import GridSampler, RandomSampler, TPESampler

space = {**grid, "C": optuna.distributions.FloatDistribution(1e-4, 1e4, log=True)}
listed = {name: list(values) for name, values in grid.items()}
samplers = {"grid": GridSampler(listed), "random": RandomSampler(), "TPE": TPESampler()}

# %%
shared = {"scoring": "neg_log_loss", "cv": cv, "refit": False}


def race(name, seed, **budget):
    search = OptunaSearchCV(LogisticRegression(), space, sampler=samplers[name], random_state=seed, **shared)
    return search.set_params(**budget).fit(Z, y).trials_


# %% [markdown]
# **Predict.** Half a second for each, five times with other seeds. Who wins, and by how much, compared with the
# standard error?

# %%
seeds = range(5)
races = {(name, seed): race(name, seed, timeout=0.5) for seed in seeds for name in samplers}
peak = max(trial.value for trials in races.values() for trial in trials)


# %%
def seconds(trials):
    start = trials[0].datetime_start
    return np.array([(trial.datetime_complete - start).total_seconds() for trial in trials])


def gaps(trials):
    return np.maximum(peak - np.maximum.accumulate([trial.value for trial in trials]), 1e-6)


# %%
def lanes(ax, races, across):
    for (name, seed), trials in races.items():
        drawn = {"color": f"C{list(samplers).index(name)}", "label": name if seed == 0 else None}
        ax.step(across(trials), gaps(trials), where="post", alpha=0.7, **drawn)
    ax.axhline(noise, color="C9", linestyle="--", label="standard error")
    ax.set(yscale="log", ylabel="behind the best of all")


# %%
ax = plt.figure().gca()
lanes(ax, races, seconds)
ax.set(xlabel="seconds")
ax.legend(ncol=2)
plt.show()

# %%
for name in samplers:
    trials = [len(races[name, seed]) for seed in seeds]
    behind = [gaps(races[name, seed])[-1] for seed in seeds]
    print(f"{name:7} trials {trials}, behind at the end: at most {max(behind):.5f}")
print(f"the standard error is {noise:.5f}")

# %% [markdown]
# **Explain.** What still divides them at the end is small beside the standard error. Below the dashed line the order
# is real (TPE can creep closer and closer to the peak, a grid stops at its nearest point) and worth little: other
# patients would move the peak by more than that. If a line of yours ends above, it had few trials and bad luck.
# *When a fit costs next to nothing, almost any search is good enough.*
#
# Cleverness also has a price. TPE must wait for results before it can choose, eight trials at a time. Grid and
# random choose beforehand, so all of their candidates can be one population:

# %%
from scipy.stats import loguniform

wide = RandomizedSearchCV(LogisticRegression(), {**grid, "C": loguniform(1e-4, 1e4)}, n_iter=200, **shared)
wide.set_params(random_state=0).fit(Z, y)
print(f"one random candidate of 200, together: {1000 * wide.plan_.seconds / 200:.2f} ms")
spent = [seconds(races["TPE", seed])[-1] / len(races["TPE", seed]) for seed in seeds]
print(f"one trial of TPE, eight at a time:     {1000 * np.median(spent):.2f} ms")

# %% [markdown]
# So why does anybody use TPE? Because fits are not always cheap. If each took an hour, choosing would be free,
# and what counts is how *few* trials you need. Count trials instead of seconds:

# %%
counted = {(name, seed): race(name, seed, n_trials=64) for seed in seeds for name in ("random", "TPE")}
peak = max(peak, *(trial.value for trials in counted.values() for trial in trials))
for name in ("random", "TPE"):
    behind = np.median([gaps(counted[name, seed])[-1] for seed in seeds])
    print(f"{name:7} behind after 64 trials: {behind:.6f}")

# %%
ax = plt.figure().gca()
lanes(ax, counted, lambda trials: range(1, len(trials) + 1))
ax.set(xlabel="trials")
ax.legend()
plt.show()

# %% [markdown]
# **Explain.** At first they are alike: TPE draws at random too, until it has results to learn from. Then it knows where
# to look. One search proves nothing, though: see how far the five lines of one colour lie apart.
# Compare searchers over several seeds, always.

# %% [markdown] exercise="seconds_to"
# ### Exercise 1: time to a score
#
# The fairest way to compare searchers: how long until a score is *good enough*? Write
# `seconds_to(target, times, scores)`. `times[i]` is when `scores[i]` came in, in order; high scores are good. Return
# the first time at which a score is at least the target, and `np.inf` if none is.


# %% exercise="seconds_to"
def seconds_to(target, times, scores):
    """Return when the target was reached first."""
    # BEGIN SOLUTION
    reached = np.asarray(scores) >= target
    return np.asarray(times)[reached.argmax()] if reached.any() else np.inf
    # END SOLUTION


# %% test="seconds_to" points=2
def test_seconds_to(env):
    np, seconds_to = env["np"], env["seconds_to"]
    times, scores = np.array([0.1, 0.2, 0.3]), np.array([-0.5, -0.1, -0.2])
    assert seconds_to(-0.2, times, scores) == 0.2, "better than the target is good enough"
    assert seconds_to(0.0, times, scores) == np.inf, "never"
    ### BEGIN HIDDEN TESTS
    assert seconds_to(-0.5, times, scores) == 0.1, "equal to the target is good enough"
    assert seconds_to(-0.1, list(times), list(scores)) == 0.2, "lists are sequences too"
    ### END HIDDEN TESTS


test_seconds_to(globals())

# %% [markdown]
# ## 3 · Two wishes, one front
#
# A model that will run in a device shall be right *and* quick. `"latency_us"` is the time, in microseconds, that the
# exported ONNX model takes for one row on one thread: measured, here, on your machine.
#
# The models are pipelines: scale the columns or not, squeeze them into fewer with PCA or not, then one of two
# classifiers, each with a setting of its own.

# %%
from sklearn.pipeline import Pipeline

from manyfit.decomposition import PCA
from manyfit.linear_model import RidgeClassifier

model = Pipeline([("scale", StandardScaler()), ("squeeze", PCA()), ("classify", RidgeClassifier())])

# %%
leash = optuna.distributions.FloatDistribution(1e-3, 1e3, log=True)
steps = {"scale": ["passthrough", StandardScaler()], "squeeze": ["passthrough", PCA(2), PCA(8)]}
choices = [
    steps | {"classify": [RidgeClassifier()], "classify__alpha": leash},
    steps | {"classify": [LogisticRegression()], "classify__C": leash},
]

# %% [markdown]
# One trial is **better** than another only if it is at least as good in both wishes and better in one. Those that
# none beats are the **Pareto front**: the best bargains. Optuna keeps it in `study.best_trials`; we note it after
# every trial.
#
# **Predict.** What is the fastest pipeline, and what the most accurate?

# %%
fronts = []
bargains = OptunaSearchCV(model, choices, objectives=["accuracy", "latency_us"], n_trials=40, cv=cv)
bargains.set_params(callbacks=[lambda study, trial: fronts.append(study.best_trials)])
bargains = bargains.set_params(random_state=0, batch_size=5, refit=False).fit(X, y)


# %%
def look(trial):
    used = ["passthrough" not in trial.params[step] for step in ("scale", "squeeze")]
    return {"color": "C0" if "classify__alpha" in trial.params else "C1", "marker": "osv"[sum(used)]}


latencies = [trial.values[1] for trial in bargains.trials_]
limits = {"xlim": (0.95 * min(latencies), 1.05 * max(latencies)), "ylim": (0.86, 0.99)}
limits |= {"xlabel": "microseconds for one row", "ylabel": "accuracy"}

# %% [markdown]
# In the picture ridge is green, logistic regression is orange. A circle is a classifier alone, a square has one step in
# front of it, a triangle has two. The line is the front.


# %%
def front(ax, shown):
    for trial in bargains.trials_[:shown]:
        ax.plot(trial.values[1], trial.values[0], alpha=0.8, **look(trial))
    ax.step(*np.transpose(sorted(t.values[::-1] for t in fronts[shown - 1])), color="C3", where="post")
    ax.set(title=f"{shown} trials", **limits)


play(front, range(5, 41, 5), label="trials")

# %% [markdown]
# **Explain.** The front only ever moves up and to the left. More steps in front cost time, however few numbers they
# work on: for one row, *starting* each operation is what you wait for. And a logistic regression costs more than a
# ridge: it also works out probabilities.
#
# Marks of one shape and colour are nearly the same graph with other numbers in it, so on a quiet machine they lie one
# above the other. What spreads them sideways is whatever else your machine was doing, and on a busy one that can be
# more than the graphs differ by. Measure a winner again before you boast of it: it was chosen for its luck, too.

# %% [markdown] exercise="pareto"
# ### Exercise 2: the front
#
# Write `pareto(accuracy, latency)` for two arrays of equal length: the positions, in increasing order, of the
# models that no other model beats. A model beats another if it is at least as accurate and at most as slow, and
# one of the two strictly.


# %% exercise="pareto"
def pareto(accuracy, latency):
    """Return the list of positions of the models that are not beaten."""
    # BEGIN SOLUTION
    kept = []
    for i in range(len(accuracy)):
        as_good = (accuracy >= accuracy[i]) & (latency <= latency[i])
        strictly = (accuracy > accuracy[i]) | (latency < latency[i])
        if not (as_good & strictly).any():
            kept.append(i)
    return kept
    # END SOLUTION


# %% test="pareto" points=3
def test_pareto(env):
    np, pareto = env["np"], env["pareto"]
    assert list(pareto(np.array([0.9, 0.8, 0.95]), np.array([10, 12, 20]))) == [0, 2], "by both"
    found = pareto(*np.transpose([trial.values for trial in env["bargains"].trials_]))
    assert list(found) == sorted(trial.number for trial in env["bargains"].best_trials_), "as Optuna has it"
    ### BEGIN HIDDEN TESTS
    assert list(pareto(np.array([0.9, 0.9]), np.array([10, 10]))) == [0, 1], "equals do not beat each other"
    assert list(pareto(np.array([0.9, 0.9, 0.8]), np.array([10, 9, 9]))) == [1], "ties do not save"
    ### END HIDDEN TESTS


test_pareto(globals())

# %% [markdown]
# Often one wish is not a wish but a limit: the memory of a micro-controller. Then it is a **constraint**. Our
# files are about ten thousand bytes, most of which are rows that the model brings along to check itself with.
#
# **Predict.** With at most 10,500 bytes, which accuracy is left?

# %%
limited = OptunaSearchCV(model, choices, scoring="accuracy", cv=cv, n_trials=16, random_state=0)
limited.set_params(constraints="model_bytes <= 10500").fit(X, y)
sizes = np.array([trial.user_attrs["measures"]["model_bytes"] for trial in limited.trials_])
scores = np.array([trial.value for trial in limited.trials_])

# %%
plt.scatter(sizes, scores, c=["C9" if size > 10500 else "C0" for size in sizes])
plt.axvline(10500, color="C3", linestyle="--")
plt.gca().set(xlabel="bytes of the exported model", ylabel="accuracy")
plt.show()
print(f"accuracy {limited.best_score_:.3f} with {limited.best_params_}")

# %% [markdown]
# **Explain.** The more accurate models are to the right of the line, so the search may not choose them. It still tries
# some: that is how it learns where the limit is.
#
# ## 4 · Lines that stop
#
# If a fit takes an hour, you often see after ten minutes that it will come to nothing. **Pruning** stops it there.
# Stochastic gradient descent goes through the data again and again, in *epochs*, and two settings can ruin it: the
# learning rate `eta0` and the leash `alpha`.
#
# Each trial is looked at after 1, 3, 9 and 27 epochs. The **median rule** stops it when it is worse than the median of
# what earlier trials had at the same epoch.
#
# **Predict.** Does stopping half of them cost you the best one?

# %%
from optuna.distributions import FloatDistribution
from optuna.pruners import MedianPruner

from manyfit.linear_model import SGDClassifier

descent = SGDClassifier(loss="log_loss", learning_rate="constant", max_iter=27, tol=None, random_state=0)
rates = {"alpha": FloatDistribution(1e-6, 1e-1, log=True), "eta0": FloatDistribution(1e-4, 1, log=True)}


# %%
def descend(pruner):
    search = OptunaSearchCV(descent, rates, sampler=RandomSampler(), n_trials=40, random_state=0, **shared)
    return search.set_params(pruner=pruner, resource="max_iter", min_resource=1).fit(Z, y)


stopped, whole = descend(MedianPruner(n_startup_trials=4)), descend(None)


# %%
def line(ax, trial, last):
    path = np.array(list(trial.intermediate_values.items())) * [1, -1]
    ax.plot(*path.T, color="C3" if trial.state.name == "PRUNED" else "C0", alpha=0.8)
    if trial.state.name == "PRUNED":  # where it was stopped, and where it would have gone
        ax.plot(*path[-1], "C3x")
        ax.plot([path[-1, 0], 27], [path[-1, 1], last], "C9:", linewidth=0.8)


# %%
def lines(ax, shown):
    for trial, free in zip(stopped.trials_[:shown], whole.trials_, strict=False):
        line(ax, trial, -free.value)
    ax.set(xscale="log", yscale="log", xlabel="epochs", ylabel="log loss (low is good)", ylim=(0.06, 1))
    ax.set(xticks=[1, 3, 9, 27], xticklabels=[1, 3, 9, 27], xlim=(0.9, 30), title=f"{shown} trials")


play(lines, range(8, 41, 8), label="trials")

# %%
spent = sum(sum(trial.intermediate_values) for trial in stopped.trials_)
print(f"without pruning: best {whole.best_score_:.4f}, {27 * len(whole.trials_)} epochs")
print(f"with pruning:    best {stopped.best_score_:.4f}, {spent} epochs")

# %% [markdown]
# **Explain.** Green lines went to the end, red ones were stopped at the cross. The first trials run to the end: there
# is nothing yet to compare them with. Then most bad ones stop at once. The dotted lines, which you would not have in
# real life, show where the stopped ones would have gone: pruning is a bet that who is behind stays behind.
#
# It is a bet with a price, too. Here each look starts the fit anew, so a trial that runs to the end costs 1 + 3 + 9 +
# 27 = 40 epochs, not 27. Pruning pays if most trials are hopeless and a fit is dear.

# %% [markdown] exercise="hopeless"
# ### Exercise 3: the median rule
#
# Write `hopeless(score, earlier)`: whether a trial with this `score` should be stopped, where `earlier` is a list of
# what earlier trials had at the same epoch. High scores are good. Nobody is stopped before there are four to
# compare with.


# %% exercise="hopeless"
def hopeless(score, earlier):
    """Return True if the score is below the median of at least four earlier ones."""
    # BEGIN SOLUTION
    enough = len(earlier) >= 4
    return enough and bool(score < np.median(earlier))
    # END SOLUTION


# %% test="hopeless" points=3
def test_hopeless(env):
    hopeless = env["hopeless"]
    assert hopeless(-0.9, [-0.1, -0.2, -0.3, -0.4]), "far behind"
    assert not hopeless(-0.1, [-0.1, -0.2, -0.3, -0.4]), "among the best"
    ### BEGIN HIDDEN TESTS
    assert not hopeless(-0.9, [-0.1, -0.2, -0.3]), "three are too few"
    assert not hopeless(-0.9, []), "the first one"
    assert not hopeless(-0.3, [-0.1, -0.2, -0.3, -9.0, -9.0]), "as good as the median is good enough"
    assert hopeless(-0.4, [-9.0, -0.1, -0.2, -9.0, -0.1]), "the median, not the mean"
    ### END HIDDEN TESTS


test_hopeless(globals())

# %% [markdown]
# ## 5 · Kill it
#
# A long search will be killed: by a power cut, by a colleague, by a cloud that wants its machine back. With a
# `storage`, every batch of trials is written to a file as soon as it is done. This program searches:

# %%
SWEEP = """import sys, scipy.stats, sklearn.datasets, sklearn.preprocessing
from manyfit.linear_model import LogisticRegression
from manyfit.model_selection import OptunaSearchCV
data = sklearn.datasets.load_breast_cancer(); Z, y = sklearn.preprocessing.scale(data.data), data.target
search = OptunaSearchCV(LogisticRegression(), {"C": scipy.stats.loguniform(1e-4, 1e4)}, scoring="neg_log_loss")
search.set_params(n_trials=96, random_state=0, study_name="C", storage=sys.argv[1], verbose=1).fit(Z, y)"""

# %%
import subprocess
import sys
import tempfile
from contextlib import closing
from sqlite3 import connect

folder = tempfile.TemporaryDirectory()

# %% [markdown]
# The file is an SQLite database of Optuna's, which any of its tools can read. So can we:


# %%
def begin(path):
    return subprocess.Popen([sys.executable, "-u", "-c", SWEEP, path], stdout=subprocess.PIPE, text=True)


def count(path):
    with closing(connect(path)) as file:
        return dict(file.execute("SELECT state, COUNT(*) FROM trials GROUP BY state").fetchall())


study, calm = f"{folder.name}/study.db", f"{folder.name}/calm.db"

# %% [markdown]
# It says a line for each batch. As soon as the file holds forty trials, we kill it: not Ctrl-C, which it could hear,
# but SIGKILL, which nothing can.
#
# **Predict.** How many trials are in the file afterwards? Is one of them left half done?

# %%
with begin(study) as process:
    for _ in process.stdout:
        if count(study)["COMPLETE"] >= 40:
            process.kill()
before = count(study)
print(f"ended with {process.returncode}, and told: {before}")

# %% [markdown]
# **Explain.** It died of signal 9, and left whole batches, all complete, none still "running": a batch is written all
# at once or not at all, and only when it is done. What was lost is the batch under way.
#
# To resume, run the same program again. It opens the file, sees what is there, and goes on.
#
# **Predict.** Will it find what it would have found if nobody had killed it? (TPE chooses by what it saw.)

# %%
running = [begin(path) for path in (study, calm)]  # the second one runs from the start, undisturbed
for process in running:
    process.communicate()
print(f"told before the kill: {before}, after the resume: {count(study)}")


# %%
def told(path):
    return [trial.value for trial in optuna.load_study(study_name="C", storage=f"sqlite:///{path}").trials]


kept, scores = before["COMPLETE"], told(study)
print("as if undisturbed:", scores == told(calm))

# %%
plt.plot(range(kept), scores[:kept], ".", label="before the kill")
plt.plot(range(kept, len(scores)), scores[kept:], ".", label="after the resume")
plt.gca().set(xlabel="trial", ylabel="score", title=f"best {max(scores):.4f}")
plt.legend(loc="lower right")
plt.show()
folder.cleanup()

# %% [markdown]
# **Explain.** The same study, to the last trial. Each trial's luck hangs on the seed and on its *number*, not on the
# clock, and each sees the results of those a fixed number before it. So it does not matter who computes, or how often
# it dies.
#
# ## What you take home
#
# - First ask what a fit costs. If next to nothing, try everything at once; if much, choose with care and stop early.
# - Know the noise. A difference below the standard error is no result, and one race is no proof.
# - With two wishes there is no best model, but a front. A limit that is hard is a constraint.
# - Pruning is a bet that who is behind stays behind.
# - A search that cannot be killed and resumed is not finished.
#
# To go on: give the race in section 2 a tenth of the time. Which searcher suffers most, and why?
