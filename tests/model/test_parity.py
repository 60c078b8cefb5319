"""The same checkpoint gives the same logits in transformers' own ExaoneMoeForCausalLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vivace.model.checkpoint import save_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_transformers(tmp_path: Path, decoder, tied: bool) -> None:
    transformers = pytest.importorskip("transformers")
    model = decoder(tie_word_embeddings=tied, routed_scaling_factor=1.5)
    save_checkpoint(tmp_path / "m", model, dtype=torch.float32)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "m", dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert type(theirs).__name__ == "ExaoneMoeForCausalLM"
    assert not info["unexpected_keys"]
    assert all("shared_expert" in key for key in info["missing_keys"]), info["missing_keys"]
    ids = torch.randint(0, 96, (2, 29), generator=torch.Generator().manual_seed(3))  # 3.6 windows
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs.eval()(ids).logits, atol=2e-5, rtol=1e-4)
