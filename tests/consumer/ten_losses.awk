# Fails unless the input is "step N loss X" for N of 1 to 10, X a finite number, the last X below the
# first.
$1 == "step" && $2 == NR && $3 == "loss" && $4 ~ /^[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?$/ && NF == 4 {
    if (NR == 1)
        first = $4
    last = $4
    next
}
{
    print "not a line of the training: " $0
    bad = 1
    exit
}
END {
    if (!bad && NR != 10)
        print NR " steps rather than 10"
    if (!bad && last + 0 >= first + 0)
        print "the loss did not fall: " first " to " last
    exit bad || NR != 10 || last + 0 >= first + 0
}
