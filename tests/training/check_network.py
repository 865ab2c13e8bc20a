"""Run by test_chain.py with torch: our network against transformers' Qwen2, and packing.

Not a test module of its own: torch is not in the environment of the tests. What follows the
folder of the programs goes on to export.py, in the same process: importing transformers takes
longer than all the rest.
"""

import sys
from importlib import import_module
from typing import Any

torch: Any = import_module("torch")


def check() -> None:
    """Raises AssertionError if the two give different logits."""
    network, train = import_module("network"), import_module("train")
    transformers = import_module("transformers")
    shape = network.Shape(vocab=300, width=64, layers=2, heads=2, kv_heads=1, hidden=96)
    ours = network.Network(shape)
    ours.start(3)
    theirs = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape.config()))
    theirs.load_state_dict(ours.state_dict(), strict=False)
    theirs.tie_weights()
    theirs.eval()
    first, second = torch.randint(0, 300, (1, 20)), torch.randint(0, 300, (1, 12))
    ids = torch.cat((first, second), 1)
    documents = torch.cat((torch.full((1, 20), 1), torch.full((1, 12), 2)), 1)
    with torch.no_grad():
        states = ours.states(ids, documents, train.places(documents), torch.float32)
        logits = states @ ours.model.embed_tokens.weight.T
        right = torch.cat((theirs(first).logits, theirs(second).logits), 1)
    torch.testing.assert_close(logits, right, atol=2e-5, rtol=1e-4)
    keep = import_module("keep")
    for weight in ours.state_dict().values():
        kept = keep.whole(keep.small(weight))
        assert (kept - weight).abs().max() <= weight.abs().max() / 127


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    check()
    sys.stdout.write("equal\n")
    del sys.argv[0]
    import_module("export").main()
