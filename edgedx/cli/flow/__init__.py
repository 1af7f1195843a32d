"""Commands of the flow, in its order: from a recipe to a bundle."""
