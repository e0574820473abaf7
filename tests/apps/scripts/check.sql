create table city(id integer primary key, name text not null, country text, people integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
  insert into city select i, 'city' || i, 'c' || (i % 17), (i * 7919) % 100003 from n;
create index city_country on city(country, people);
select count(*), sum(people), min(name), max(name), avg(people) from city;
select country, count(*) as c, total(people) from city group by country order by c desc, country limit 5;
select a.name, b.name from city a join city b on a.people = b.people + 1 order by a.id limit 5;
begin;
update city set people = people + 1 where country in ('c3', 'c5');
delete from city where id % 10 = 0;
savepoint s;
delete from city;
rollback to s;
commit;
select count(*), sum(people) from city;
select json_group_array(name) from (select name from city where country = 'c1' order by people desc limit 3);
with recursive mandel(x, y, cx, cy, i) as (
  select 0.0, 0.0, -0.5, 0.5, 0 union all
  select x * x - y * y + cx, 2 * x * y + cy, cx, cy, i + 1 from mandel where x * x + y * y < 4 and i < 50)
select max(i) from mandel;
select row_number() over (order by people), name, lag(name) over (order by people) from city order by people limit 4;
select printf('%08.3f|%s|%x', 3.14159, upper('husk'), 255), hex(zeroblob(4)), substr('hello', 2, 3), 7 / 2, 7 % 3, 1e100;
create table bad(id integer primary key);
pragma integrity_check;
select name, typeof(people) from city where name like 'city49_1' order by name;
