"""Many commands side by side, on this machine or on a cluster that exists: Ray, or SLURM by submitit."""
