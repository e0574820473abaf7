module husk/examples/next

go 1.19
