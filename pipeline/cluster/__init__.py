"""The cluster manager's side as desired state: what is wanted, what is there, what has to change."""
