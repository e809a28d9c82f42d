# What pg_waldump says of WAL, in the lines that test/programs/wal_records prints, and the comparison of both.
#
#   my $theirs = their_records($node, $directory, $timeline, $segment_size);
#   my $ours = our_records($directory, $timeline, '--each', '--seed', 7);
#   compare_records($ours, $theirs, $segment_size, 'timeline 1');
#
# pg_waldump prints names of what a record is, not its info byte. So the byte is compared with the name: each
# name must have one byte, and each byte one name.
package WalDump;

use strict;
use warnings;
use parent 'Exporter';
use Carp qw(croak);
use File::Basename qw(basename);
use FindBin ();
use IPC::Run ();
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::Local qw(timegm);

our @EXPORT = qw(wal_segments their_records our_records same_records compare_records);

# The resource managers of 15 to 18, in the order of their numbers.
my @managers = qw(XLOG Transaction Storage CLOG Database Tablespace MultiXact RelMap Standby Heap2 Heap Btree
  Hash Gin Gist Sequence SPGist BRIN CommitTs ReplicationOrigin Generic LogicalMessage);
my %number_of = map { ($managers[$_] => $_) } 0 .. $#managers;

# The names of WAL segments in a directory on a timeline, in order. The last ones may hold old WAL.
sub wal_segments
{
	my ($directory, $timeline) = @_;
	return grep { /^[0-9A-F]{24}$/ && hex(substr $_, 0, 8) == $timeline }
	  map { basename($_) } sort glob "$directory/*";
}

# --- pg_waldump -----------------------------------------------------------------------------------

# Returns {records => [lines], names => [one for each line], end => where it found no more record, if it says
# so, error => how it ended}.
sub their_records
{
	my ($node, $directory, $timeline, $segment_size) = @_;
	my ($first) = wal_segments($directory, $timeline) or croak "no WAL of timeline $timeline in $directory";
	my ($high, $low) = map { hex } $first =~ /^.{8}(.{8})(.{8})$/;
	my $start = sprintf '%X/%X', $high, $low * $segment_size;
	my $out = PostgreSQL::Test::Utils::tempdir('waldump') . '/out';
	my $err = '';

	{
		local $ENV{TZ} = 'UTC';
		# It always ends with an error, because it is not told where to end.
		IPC::Run::run(
			[
				$node->installed_command('pg_waldump'), '--bkp-details', '-t', $timeline, '-p', $directory, '-s',
				$start
			],
			'<', \undef, '>', $out, '2>', \$err,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	my $dump = parse_dump($out);
	$dump->{error} = $err;
	$dump->{end} = end_of($err);
	unlink $out;
	return $dump;
}

sub parse_dump
{
	my ($path) = @_;
	my (@records, @names);

	open my $file, '<', $path or croak "could not open $path: $!";
	while (my $line = <$file>)
	{
		chomp $line;
		if ($line =~ /^\tblkref #(\d+): rel (\S+) fork (\w+) blk (\d+)(.*)/)
		{
			$records[-1] .= " block $1 $2 $3 $4" . image($5);
		}
		elsif ($line =~ /^rmgr:\ (\S+)\s+len\ \(rec\/tot\):\s*\d+\/\s*(\d+),\ tx:\s*(\d+),
			\ lsn:\ (\S+),\ prev\ (\S+),\ desc:\ (\S+)\s?(.*)/sx)
		{
			my $manager = $number_of{$1} // ($1 =~ /^custom(\d+)$/)[0] // croak "manager $1 is new";
			push @names, "$1/$6";
			push @records,
			  join(' ', lsn($4), 'prev', lsn($5), "length $2 xid $3 manager $manager", facts("$1/$6", $7));
		}
		elsif ($line ne '')
		{
			croak "pg_waldump printed an unknown line: $line";
		}
	}
	close $file;
	return { records => \@records, names => \@names };
}

# The image of a block, and how long it is in WAL.
sub image
{
	my ($text) = @_;
	my ($unused, $hole, $saved) =
	  $text =~ /^ \(FPW( for WAL verification)?\); hole: offset: \d+, length: (\d+)(?:, compression saved: (\d+),.*)?$/
	  or return $text eq '' ? '' : croak "pg_waldump says of a block: $text";
	return ' image ' . (8192 - $hole - ($saved // 0)) . ($unused ? ' unused' : '');
}

# Before 19, it prints the low half with and without leading zeros.
sub lsn
{
	my ($high, $low) = map { hex } split m{/}, $_[0];
	return sprintf '%X/%X', $high, $low;
}

# What a description says, in the words of our program. Nothing for records without such facts.
sub facts
{
	my ($name, $text) = @_;

	if ($name =~ m{^Transaction/(COMMIT|ABORT)(?:_PREPARED)?$})
	{
		my $what = lc $1;
		my ($xid, $time, $rest) = $text =~ /^(?:(\d+): )?(\d+-\S+ \S+) UTC(.*)/
		  or croak "pg_waldump says of $name: $text";
		my ($files) = $rest =~ /; rels: ([^;]+)/;
		my ($children) = $rest =~ /; subxacts: ([^;]+)/;
		my @result = ($what, microseconds($time));
		push @result, "of $xid" if defined $xid;
		push @result, 'children ' . join(',', split / /, $children) if defined $children;
		push @result, 'drops ' . join(',', map { relation($_) } split / /, $files) if defined $files;
		push @result, "origin $1" if $rest =~ /; origin: node (\d+), /;
		return @result;
	}
	return ('prepare', microseconds($2), "\"$1\"")
	  if $name eq 'Transaction/PREPARE' && $text =~ /^gid (.*?): (\S+ \S+) UTC/;
	return ('creates', relation($text)) if $name eq 'Storage/CREATE';
	return ('truncates', "$2 flags $3", relation($1))
	  if $name eq 'Storage/TRUNCATE' && $text =~ /^(\S+) to (\d+) blocks flags (\d+)$/;
	return ('copies', $1, 'to', $2)
	  if $name eq 'Database/CREATE_FILE_COPY' && $text =~ m{^copy dir (\d+/\d+) to (\d+/\d+)$};
	return ('new-database', $1) if $name eq 'Database/CREATE_WAL_LOG' && $text =~ m{^create dir (\d+/\d+)$};
	return ('drops-database', $1)
	  if $name eq 'Database/DROP' && $text =~ m{^dir (\d+/\d+(?: \d+/\d+)*)$};
	return ('new-tablespace', $1) if $name eq 'Tablespace/CREATE' && $text =~ /^(\d+ ".*")$/;
	return ('drops-tablespace', $1) if $name eq 'Tablespace/DROP' && $text =~ /^(\d+)$/;
	return ("restore-point \"$text\"") if $name eq 'XLOG/RESTORE_POINT';
	return ('checkpoint', $5, lsn($1), "timeline $2 before $3 full-page-writes $4")
	  if $name =~ /^XLOG.CHECKPOINT_/
	  && $text =~ /^redo (\S+); tli (\d+); prev tli (\d+); fpw (\w+); .*; (online|shutdown)$/;
	return ('checkpoint-begins') if $name eq 'XLOG/CHECKPOINT_REDO';
	return ('switch') if $name eq 'XLOG/SWITCH';
	return ('full-page-writes', $text) if $name eq 'XLOG/FPW_CHANGE';
	return ('parameters', $text) if $name eq 'XLOG/PARAMETER_CHANGE';
	return ('recovery-ended', "timeline $1 before $2", microseconds($3))
	  if $name eq 'XLOG/END_OF_RECOVERY' && $text =~ /^tli (\d+); prev tli (\d+); time (\S+ \S+) UTC/;
	return ('overwrites', lsn($1), microseconds($2))
	  if $name eq 'XLOG/OVERWRITE_CONTRECORD' && $text =~ /^lsn (\S+); time (\S+ \S+) UTC/;
	croak "pg_waldump says of $name: $text"
	  if $name =~ m{^(?:Storage|Database|Tablespace|XLOG)/(?!NOOP|NEXTOID|FPI|BACKUP_END)};
	return;
}

# Since 2000.
sub microseconds
{
	my ($text) = @_;
	my ($year, $month, $day, $hour, $minute, $second, $fraction) =
	  $text =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)\.(\d{6})$/
	  or croak "no time: $text";
	return (timegm($second, $minute, $hour, $day, $month - 1, $year) - 946684800) * 1_000_000 + $fraction;
}

# A path below the data directory as tablespace/database/relation_fork.
sub relation
{
	my ($path) = @_;
	my ($file, $fork) = $path =~ m{^(.*?)(_fsm|_vm|_init)?$};
	$fork //= '_main';

	return "1663/$1/$2$fork" if $file =~ m{^base/(\d+)/(\d+)$};
	return "1664/0/$1$fork" if $file =~ m{^global/(\d+)$};
	return "$1/$2/$3$fork" if $file =~ m{^pg_tblspc/(\d+)/[^/]+/(\d+)/(\d+)$};
	croak "no path of a relation: $path";
}

# Where it looked for a record and found none, if its last message names the place.
sub end_of
{
	my ($message) = @_;
	return lsn($1)
	  if $message =~ m{invalid record length at ([0-9A-F]+/[0-9A-F]+): }
	  || $message =~ m{invalid (?:resource manager ID|info bits|magic number) \S+ at ([0-9A-F]+/[0-9A-F]+)}
	  || $message =~ m{record with (?:incorrect|invalid) prev-link \S+ at ([0-9A-F]+/[0-9A-F]+)};
	return;
}

# --- our program ----------------------------------------------------------------------------------

# The same of ours. It has info bytes instead of names, and where each record ends.
sub our_records
{
	my ($directory, $timeline, @options) = @_;
	my @command = ("$FindBin::RealBin/../programs/wal_records", @options, $directory, $timeline);
	my $out = PostgreSQL::Test::Utils::tempdir('records') . '/out';
	my $err = '';
	my (@records, @infos, @ends, %result);

	IPC::Run::run(\@command, '<', \undef, '>', $out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  or return { records => [], infos => [], ends => [], error => "@command: $err" };
	open my $file, '<', $out or croak "could not open $out: $!";
	while (my $line = <$file>)
	{
		chomp $line;
		if ($line =~ s/ info (0x\w\w) end (\S+)//)
		{
			push @infos, hex $1;
			push @ends, $2;
			push @records, $line;
		}
		elsif ($line =~ /^end (\S+) (.*)$/) { @result{qw(end why)} = ($1, $2); }
		else { croak "wal_records printed an unknown line: $line"; }
	}
	close $file;
	unlink $out;
	return { %result, records => \@records, infos => \@infos, ends => \@ends, error => "$result{why} at $result{end}" };
}

# --- comparison -----------------------------------------------------------------------------------

# One test: both have the same records. Shows the first ten that differ of each.
sub same_records
{
	my ($ours, $theirs, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @differ;
	my $most = @{ $ours->{records} } > @{ $theirs->{records} } ? @{ $ours->{records} } : @{ $theirs->{records} };

	foreach my $at (0 .. $most - 1)
	{
		my ($our, $their) = map { $_->{records}[$at] // '(no more)' } $ours, $theirs;
		push @differ, "  ours:   $our\n  theirs: $their\n" if $our ne $their;
		last if @differ == 10;
	}
	my $good = ok(!@differ && $most > 0, sprintf '%s: %d records', $test, scalar @{ $theirs->{records} });
	diag(@differ, "ours ended: $ours->{error}\ntheirs ended: $theirs->{error}") if !$good;
	return $good;
}

# One test: each name of pg_waldump stands for one info byte, and each info byte of a manager for one name.
sub same_kinds
{
	my ($ours, $theirs, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (%byte_of, %name_of, @wrong);

	foreach my $at (0 .. $#{ $theirs->{names} })
	{
		my $name = $theirs->{names}[$at];
		my ($manager) = split m{/}, $name;
		# The low half is not the manager's; one bit of a transaction's says that more follows.
		my $byte = sprintf '%s 0x%02x', $manager,
		  ($ours->{infos}[$at] // 0) & ($manager eq 'Transaction' ? 0x70 : 0xF0);
		push @wrong, "$name: $byte, $byte_of{$name}" if ($byte_of{$name} //= $byte) ne $byte;
		push @wrong, "$byte: $name, $name_of{$byte}" if ($name_of{$byte} //= $name) ne $name;
	}
	return is(join("\n", @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ]), '', "$test: info bytes");
}

# One test: where we say that a record ends, the next one of pg_waldump begins, or the page with nothing but its
# header before it. That is not so before a record that was cut off and given up.
sub same_ends
{
	my ($ours, $theirs, $segment_size, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong;

	foreach my $at (1 .. $#{ $theirs->{records} })
	{
		my ($high, $low) = map { hex } $theirs->{records}[$at] =~ m{^(\w+)/(\w+)};
		my $header = $low % $segment_size == 40 ? 40 : $low % 8192 == 24 ? 24 : 0;
		my $end = sprintf '%X/%X', $high, $low - $header;
		my $our = $ours->{ends}[ $at - 1 ] // '(no more)';
		push @wrong, "$ours->{records}[$at - 1]: ends at $our, not $end"
		  if $our ne $end && $theirs->{names}[$at] ne 'XLOG/OVERWRITE_CONTRECORD';
	}
	return is(join("\n", @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ]), '', "$test: where each record ends");
}

# Tests that both say the same.
sub compare_records
{
	my ($ours, $theirs, $segment_size, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	same_records($ours, $theirs, $test);
	same_kinds($ours, $theirs, $test);
	same_ends($ours, $theirs, $segment_size, $test);
	is($ours->{end}, $theirs->{end}, "$test: where it ends") if defined $theirs->{end};
	return;
}

1;
