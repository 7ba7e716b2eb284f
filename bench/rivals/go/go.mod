module cmpgo

go 1.24
