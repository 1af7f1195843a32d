"""Files of the clinic to images: header, admission, frames, windows."""
