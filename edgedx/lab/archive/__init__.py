"""A whole archive of studies to one table: a row for each content, however often it was begun."""
