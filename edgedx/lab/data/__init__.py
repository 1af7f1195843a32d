"""Sources, splits and the data set that training reads."""
