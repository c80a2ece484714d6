drop table mutations;
