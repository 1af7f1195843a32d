"""The disposable process that opens what strangers wrote."""
