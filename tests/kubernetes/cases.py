"""All cases, in the order in which they run: each is a promise, a deadline and a function."""

import brokers_cases
import edge_cases
import front_cases
import nodes_cases
import oracle_cases
import schemes_cases
from case import Case

ALL = [
    Case(function, *function.case)
    for module in (oracle_cases, schemes_cases, brokers_cases, front_cases, edge_cases, nodes_cases)
    for function in vars(module).values()
    if hasattr(function, "case")
]
