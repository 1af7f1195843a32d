"""The Python interface: a model that predicts, and the stages of the flow as functions. Import it as `edgedx`."""
