"""What comes from outside: downloads, mirrors, package repositories, and the lock that pins them."""
