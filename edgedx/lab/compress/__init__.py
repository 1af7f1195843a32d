"""Teacher to student: pruning, distillation, budget search."""
