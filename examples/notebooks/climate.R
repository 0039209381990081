# The table of climate.ipynb from R: ~/.my.cnf, which the agent keeps, says who logs in and how; its group for RMariaDB is rs-dbi.
library(DBI)

connection <- dbConnect(RMariaDB::MariaDB(), groups = "rs-dbi")
climate <- dbGetQuery(connection, "SELECT place, month, CAST(mean AS DOUBLE) AS mean FROM climate ORDER BY place, month")
dbDisconnect(connection)

print(aggregate(mean ~ place, climate, function(each) c(coldest = min(each), warmest = max(each))))
barplot(mean ~ place + month, climate, beside = TRUE, legend.text = TRUE, args.legend = list(x = "topleft"), ylab = "°C")
