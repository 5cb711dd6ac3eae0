"""The zoo's scikit-learn models, by skl2onnx; tree ensembles and kernels are to be refused."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import skl2onnx
from numpy.typing import NDArray
from sklearn import (
    decomposition,
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.base import BaseEstimator, is_regressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from tools.peers.zoo_job import SEED, Job, Written

__all__ = ["fitted", "jobs", "models"]

OPSETS = (17, 13, 21)
ROWS, FEATURES, CLASSES = 90, 6, 3


def jobs(*, quick: bool) -> Iterator[Job]:
    """Yield a job per model and opset."""
    for name, family, expect, estimator, options in models():
        for opset in OPSETS[: 1 if quick else None]:
            yield Job(
                name=f"sklearn_{name}",
                family=family,
                exporter="skl2onnx",
                opset=opset,
                expect=expect,
                write=_writer(estimator, opset, options),
            )


def _writer(
    estimator: BaseEstimator, opset: int, options: dict[str, object]
) -> Callable[[Path], Written]:
    def write(path: Path) -> Written:
        x = fitted(estimator)
        chosen = {id(estimator): options} if options else None
        stamps = {"": opset, "ai.onnx.ml": 3}
        model = skl2onnx.to_onnx(estimator, x[:1], target_opset=stamps, options=chosen)
        path.write_bytes(model.SerializeToString())
        return Written({"X": x[:4]})

    return write


def fitted(estimator: BaseEstimator) -> NDArray[np.float32]:
    """Fit a model to data `[ROWS, FEATURES]`, the same at every call, and return them."""
    warnings.simplefilter("ignore")
    random = np.random.default_rng(SEED)
    x = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    likely = x @ random.normal(size=(FEATURES, CLASSES))
    estimator.fit(x, likely[:, 0] if is_regressor(estimator) else likely.argmax(1))
    return x


def models() -> Iterator[tuple[str, str, str, BaseEstimator, dict[str, object]]]:
    """Yield name, family, what is expected, the estimator and options of every model."""
    logistic, mlp = linear_model.LogisticRegression, neural_network.MLPClassifier
    small = {"hidden_layer_sizes": (8, 8), "max_iter": 50, "random_state": SEED}
    plain: dict[str, object] = {"zipmap": False}
    for name, family, estimator, options in (
        ("logistic", "linear", logistic(), plain),
        ("logistic_zipmap", "linear", logistic(), {}),
        ("logistic_raw", "linear", logistic(), plain | {"raw_scores": True}),
        ("linear_svc", "linear", svm.LinearSVC(), {}),
        ("linear_regression", "linear", linear_model.LinearRegression(), {}),
        ("ridge_regressor", "linear", linear_model.Ridge(), {}),
        ("sgd", "linear", linear_model.SGDClassifier(random_state=SEED), plain),
        ("perceptron", "linear", linear_model.Perceptron(), {}),
        ("discriminant", "linear", discriminant_analysis.LinearDiscriminantAnalysis(), plain),
        ("one_vs_rest", "linear", OneVsRestClassifier(logistic()), plain),
        ("naive_bayes", "Bayes", naive_bayes.GaussianNB(), plain),
        ("mlp", "MLP", mlp(**small), plain),
        ("mlp_tanh", "MLP", mlp(**small, activation="tanh"), plain),
        ("mlp_regressor", "MLP", neural_network.MLPRegressor(**small), {}),
        ("standard", "pipeline", make_pipeline(preprocessing.StandardScaler(), logistic()), plain),
        ("normalizer", "pipeline", make_pipeline(preprocessing.Normalizer(), logistic()), plain),
        ("normalizer_l1", "pipeline", make_pipeline(
            preprocessing.Normalizer("l1"), mlp(**small)), plain),
        ("minmax", "pipeline", make_pipeline(preprocessing.MinMaxScaler(), mlp(**small)), plain),
        ("robust", "pipeline", make_pipeline(preprocessing.RobustScaler(), svm.LinearSVC()), {}),
        ("pca", "pipeline", make_pipeline(decomposition.PCA(3), logistic()), plain),
        ("polynomial", "pipeline", make_pipeline(
            preprocessing.PolynomialFeatures(2), logistic()), plain),
        ("binarizer", "pipeline", make_pipeline(preprocessing.Binarizer(), logistic()), plain),
    ):  # fmt: skip
        yield name, family, "explain", estimator, options
    few = {"n_estimators": 3, "max_depth": 3, "random_state": SEED}
    for name, estimator, options in (
        ("random_forest", ensemble.RandomForestClassifier(**few), plain),
        ("forest_regressor", ensemble.RandomForestRegressor(**few), {}),
        ("boosting", ensemble.GradientBoostingClassifier(**few), plain),
        ("tree", tree.DecisionTreeClassifier(max_depth=3), plain),
        ("svc_rbf", svm.SVC(), {}),
        ("neighbours", neighbors.KNeighborsClassifier(3), plain),
    ):
        yield name, "trees and kernels", "refuse", estimator, options
