"""Networks that `torch.compile` has compiled. Probes measure modules, which compiled code does not call."""

import sys

from torch import nn

NOTE = "torch.compile is not used: the network is trained eagerly, so that probes can measure its layers"


def as_eager(network: nn.Module) -> nn.Module:
    """Return `network` without the compilation of itself and of its modules, which it may change in place.

    `was_compiled` says whether there was any. Compiled functions are left alone (see Recorder)."""
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None or not isinstance(network, nn.Module):  # nothing can be compiled without it
        return network
    found = False

    def original(module: nn.Module) -> nn.Module:
        nonlocal found
        while isinstance(module, dynamo.OptimizedModule):
            module, found = module._orig_mod, True
        return module

    network = original(network)
    waiting = [network]
    while waiting:  # an uncompiled module may have compiled ones
        module = waiting.pop()
        if module._compiled_call_impl is not None:  # of Module.compile()
            module._compiled_call_impl, found = None, True
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = original(child)
                waiting.append(original(child))
    if found:
        network.__dict__["was_compiled"] = True
    return network


def was_compiled(network: nn.Module) -> bool:
    """Return whether `as_eager` removed a compilation from `network`."""
    return bool(network.__dict__.get("was_compiled", False))
