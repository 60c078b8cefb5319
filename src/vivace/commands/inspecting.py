"""What Inspect loads of Vivace by its entry point: the provider of `inspect eval TASK --model vivace/FOLDER`.

`vivace/FOLDER` is a checkpoint, `vivace/NAME@URL` an endpoint; `-M connections=16` calls at a time.
"""

from __future__ import annotations

from vivace.commands.models import open_model
from vivace.evals.inspecting import provider

provider.openers[:] = [lambda name: open_model(name, {}).client]
