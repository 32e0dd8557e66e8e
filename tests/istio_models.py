"""Holds manifests against the models of Istio's resources (the package cloudcoil-models-istio, made of Istio's CRDs).

Reads a JSON list of [name, manifest] and prints a line for each problem, `name: what is wrong`.
"""

import importlib
import json
import pathlib
import sys
import types

import cloudcoil.pydantic
from pydantic import BaseModel, ValidationError

GROUPS = {
    "extensions.istio.io": "extensions",
    "networking.istio.io": "networking",
    "security.istio.io": "security",
    "telemetry.istio.io": "telemetry",
}


class Builder(BaseModel):
    """Stands for what builds models, which nobody does here."""

    def __class_getitem__(cls, _):
        return cls


# The package is written for Python 3.14, and only its builders and its registry are: the models themselves, which alone
# count here, are read by older ones too, past those two.
cloudcoil.pydantic.UNSET = object()
for name in ("BaseBuilder", "BaseModelBuilder", "BuilderContextBase", "GenericListBuilder", "ListBuilderContext"):
    setattr(cloudcoil.pydantic, name, type(name, (Builder,), {}))
FOLDER = pathlib.Path(cloudcoil.pydantic.__file__).parent
for name in ("models", "models.istio"):
    package = types.ModuleType(f"cloudcoil.{name}")
    package.__path__ = [str(FOLDER.joinpath(*name.split(".")))]
    sys.modules[package.__name__] = package


def model(manifest):
    group, _, version = manifest["apiVersion"].partition("/")
    module = importlib.import_module(f"cloudcoil.models.istio.{GROUPS[group]}.{version}")
    return getattr(module, manifest["kind"])


def unknown(given, taken, at):
    """The places of fields that the model has dropped."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for name, value in given.items():
            place = f"{at}.{name}" if at else name
            if name not in taken:
                yield place
            else:
                yield from unknown(value, taken[name], place)
    elif isinstance(given, list) and isinstance(taken, list):
        for index, (one, other) in enumerate(zip(given, taken)):
            yield from unknown(one, other, f"{at}[{index}]")


def problems(manifest):
    try:
        resource = model(manifest).model_validate(manifest)
    except (KeyError, ImportError, AttributeError):
        yield f"no kind {manifest.get('kind')} in {manifest.get('apiVersion')}"
        return
    except ValidationError as invalid:
        for error in invalid.errors():
            yield f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
        return
    # The API server would drop it, or refuse it.
    taken = resource.model_dump(mode="json", by_alias=True)
    for place in unknown(manifest, taken, ""):
        yield f"unknown field {place}"


for name, manifest in json.load(sys.stdin):
    for problem in problems(manifest):
        print(f"{name}: {problem}")
