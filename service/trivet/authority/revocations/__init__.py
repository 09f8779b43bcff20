"""RenewRevocation objects: drafted, compared, rehearsed and observed; and the guard against lock-outs."""
