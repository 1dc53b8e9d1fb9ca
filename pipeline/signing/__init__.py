"""Who signed a version: made and checked by ssh-keygen, against the signers that the site names."""
