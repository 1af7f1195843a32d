"""Tables and folders of images to rows: labels, patients, paths."""
