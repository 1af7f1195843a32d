"""Which model is better, and is that shown?"""
