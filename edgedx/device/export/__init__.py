"""What leaves a clinic, chosen by a person and on the record: de-identified copies, and signed answers."""
