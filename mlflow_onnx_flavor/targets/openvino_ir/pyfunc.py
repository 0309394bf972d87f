"""Serve a folder with OpenVINO's IR; a copy of this file lies in every exported model."""

import json
from pathlib import Path

import numpy as np


class Compiled:
    """The model of ``folder``, compiled for the CPU with the settings that it was proven with."""

    def __init__(self, folder):
        import openvino

        settings = json.loads((Path(folder) / "settings.json").read_text())
        core = openvino.Core()
        self._compiled = core.compile_model(
            str(Path(folder) / "model.xml"), "CPU", settings["compile"]
        )
        self.inputs = {each.get_any_name(): each for each in self._compiled.inputs}
        self.outputs = settings["outputs"]

    def run(self, inputs):
        """Return outputs by name from arrays by name."""
        answers = self._compiled(inputs)
        # Results come in the order of the graph's outputs, whatever their names in the IR.
        return {name: np.array(answers[position]) for position, name in enumerate(self.outputs)}


class Model:
    """The model that MLflow's pyfunc calls with an array, or with arrays by name."""

    def __init__(self, folder):
        self._compiled = Compiled(folder)

    def predict(self, data, params=None):
        """Return one output as an array, several as a dictionary."""
        names = list(self._compiled.inputs)
        given = data if isinstance(data, dict) else {names[0]: np.asarray(data)}
        answers = self._compiled.run({name: np.ascontiguousarray(given[name]) for name in names})
        return next(iter(answers.values())) if len(answers) == 1 else answers


def _load_pyfunc(data_path):
    return Model(data_path)
