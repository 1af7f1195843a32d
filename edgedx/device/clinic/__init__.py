"""A bundle judged on labelled images, here."""
