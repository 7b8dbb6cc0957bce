# The deadline of a carried joiner was faster: nobody drops the run's reference.
/^int thrum__wait_carried/,/^}/ s/thrum__thread_unref_late(.*/;/
