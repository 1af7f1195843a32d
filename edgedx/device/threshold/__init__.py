"""The site's own threshold: what a bundle's answers to labelled images say of every one, and which to propose."""
