# What was moved is still there.
s/from->head = last->link;/;/
