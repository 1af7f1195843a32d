"""core + pydicom: files of the clinic to arrays, and back."""
