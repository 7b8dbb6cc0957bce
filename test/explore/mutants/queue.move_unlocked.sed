# The queue that is moved to is another's, too.
s/thrum__\(un\)*lock(&to->lock);/;/
