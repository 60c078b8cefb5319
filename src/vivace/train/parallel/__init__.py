"""Training on many processes, one file per axis; the model knows nothing of it.

`mesh` says who is who, `data` shards parameters and gradients (FSDP2), `expert` sends tokens to the experts' owners,
`context` cuts sequences, `muon` shares the optimizer's work, `spans` says which rows of a parameter live here,
`checkpoint` writes whole models from shards. `team` is what the training loop talks to.
"""

from vivace.train.parallel.mesh import Mesh, MeshConfig, open_mesh

__all__ = ["Mesh", "MeshConfig", "open_mesh"]
