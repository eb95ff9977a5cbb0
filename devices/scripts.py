"""The shell scripts a session runs on a device. POSIX sh with the tools of Android's toybox, busybox and GNU alike.

Each is one command, because a round trip costs more than anything they do. Values go in as arguments, never into the
text.
"""

from __future__ import annotations

# Set in the environment of everything a session starts; inherited by whatever that starts, also by what leaves its
# process group. The value begins with the owner's id.
MARK = "POCKETZOO_RUN"

# $1: the owner's id. Kills what carries it, until nothing does; prints `killed PID` each and `left PID` for survivors.
# Some greps stop at the first NUL byte of an environment: the first line finds out on grep's own.
_END_ALL = f"""
end_all() {{
  if {MARK}_TEST=$1 grep -qs "{MARK}_TEST=$1" /proc/self/environ; then
    marked() {{ grep -ls "{MARK}=$1" /proc/[0-9]*/environ; }}
  else
    marked() {{
      for e in /proc/[0-9]*/environ; do
        [ -r $e ] && tr '\\000' '\\n' <$e 2>/dev/null | grep -q "^{MARK}=$1" && echo $e
      done
    }}
  fi
  n=0
  while [ $n -lt 40 ]; do
    hit=
    for e in $(marked $1 2>/dev/null); do
      p=${{e#/proc/}}; p=${{p%/environ}}
      [ $p = $$ ] && continue
      hit="$hit $p"
      kill -9 $p 2>/dev/null && echo "killed $p"
    done
    [ -z "$hit" ] && return 0
    n=$((n+1))
  done
  for p in $hit; do echo "left $p"; done
}}
"""

END_ALL = f"{_END_ALL}\nend_all $1\n"

# The lease of a device that more than one host may reach: a file `owner` with the owner's id, the time it ends on the
# device's own clock, and who it is. $1: owner, $2: seconds (0: take none), $3: who. Where it is taken: exit 43, who has
# it and how long. One that ends more than a day from now was written before the clock was set: it counts for nothing.
_CLAIM = """
claim() {
  [ "$2" -gt 0 ] || return 0
  tries=0
  until mkdir owner.claim 2>/dev/null; do
    tries=$((tries+1)); [ $tries -gt 5 ] && break
    sleep 1
  done
  now=$(date +%s)
  if read -r id ends who 2>/dev/null <owner && [ "$id" != "$1" ] &&
     [ "$ends" -gt "$now" ] && [ "$ends" -lt $((now + 86400)) ]; then
    rmdir owner.claim; echo "$who; free in at most $((ends - now)) s"; exit 43
  fi
  echo "$1 $((now + $2)) $3" >owner.$1 && mv -f owner.$1 owner
  claimed=$?
  rmdir owner.claim
  return $claimed
}
"""
TAKEN = 43

# $1: the work folder, then as for the lease.
CLAIM = f"""{_CLAIM}
cd -- "$1" || exit 1
claim "$2" "$3" "$4"
"""

# $1: the work folder, $2: owner. Lets go of the lease where it is ours.
RELEASE = """
cd -- "$1" && read -r id rest <owner && [ "$id" = "$2" ] && rm -f owner
"""

# $1: the work folder, $2: an owner in words. Lets go of the lease where it is theirs.
EVICT = """
cd -- "$1" && read -r id ends who <owner && [ "$who" = "$2" ] && rm -f owner
"""

# $1: owner, $2: the work folder, absolute or from the home folder, $3, $4: seconds and who, for the lease. Prints the
# folder's absolute path as the last line.
PREPARE = f"""{_END_ALL}{_CLAIM}
mkdir -p -- "$2/files" && cd -- "$2" || exit 1
claim "$1" "$3" "$4" || exit 1
command -v sha256sum >/dev/null 2>&1 || {{ echo "sha256sum: not found" >&2; exit 41; }}
end_all $1 >/dev/null
rm -f files/.part-$1-*
pwd -P
"""
NO_SHA256SUM = 41

# $1: a folder, $2: owner. Removes what a failed push left of itself.
DISCARD = """
cd -- "$1" && rm -f .part-$2-*
"""

# $1: a folder, then names in it: prints `sha256sum` lines of those that are there.
HASH = """
cd -- "$1" || exit 0
shift
for f in "$@"; do [ -f "$f" ] && set -- "$@" "$f"; shift; done
[ $# -eq 0 ] || sha256sum -- "$@"
"""

# $1: a folder, then triples: temporary name, final name, hash. What has the hash becomes visible, the rest is removed.
PUBLISH = """
cd -- "$1" || exit 1
shift
bad=0
while [ $# -ge 3 ]; do
  got=$(sha256sum -- "$1"); got=${got%% *}
  if [ "$got" = "$3" ] && chmod 755 -- "$1" && mv -f -- "$1" "$2"; then :
  else echo "$2 $got"; rm -f -- "$1"; bad=42; fi
  shift 3
done
exit $bad
"""
NOT_PUBLISHED = 42

# Sections begin with `@@ name`. In `files`, PATH=LINE for every line of a file, PATH!REASON where it cannot be read.
# Only builtins: a file costs no process.
_SHOW = """
show() {
  for f in "$@"; do
    [ -e "$f" ] || continue
    if [ ! -r "$f" ]; then echo "$f!no permission"; continue; fi
    got=
    { while IFS= read -r l || [ -n "$l" ]; do echo "$f=$l"; got=1; done; } <"$f" 2>/dev/null
    [ -n "$got" ] || echo "$f!there, but it cannot be read"
  done
}
has() { command -v "$1" >/dev/null 2>&1; }
echo "@@ files"
"""

# $1: the folder whose free space counts.
CONDITIONS = (
    _SHOW
    + """
cpu=/sys/devices/system/cpu
show /proc/loadavg
show /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp
show /sys/class/hwmon/hwmon*/name /sys/class/hwmon/hwmon*/temp*_input
show $cpu/cpu[0-9]*/cpufreq/scaling_cur_freq $cpu/cpu[0-9]*/cpufreq/scaling_max_freq
show $cpu/cpu[0-9]*/cpufreq/scaling_governor
show /sys/class/power_supply/*/type /sys/class/power_supply/*/capacity
show /sys/class/power_supply/*/temp /sys/class/power_supply/*/status
if ! [ -e $cpu/cpu0/cpufreq ] && grep -qs aperfmperf /proc/cpuinfo; then
  echo "@@ mhz"; grep "^cpu MHz" /proc/cpuinfo
fi
echo "@@ df"; df -kP "$1" 2>/dev/null
if has dumpsys; then
  echo "@@ battery"; dumpsys battery 2>/dev/null
  echo "@@ power"; dumpsys power 2>/dev/null | grep mWakefulness=
  if ! read -r l 2>/dev/null </sys/class/thermal/thermal_zone0/temp; then
    echo "@@ thermal"; dumpsys thermalservice 2>/dev/null
  fi
fi
if has nvidia-smi; then
  echo "@@ gpu"
  nvidia-smi --query-gpu=index,temperature.gpu,clocks.sm,clocks.max.sm --format=csv,noheader,nounits 2>/dev/null
fi
:
"""
)

# $@: tiny programs whose exit code is printed.
FACTS = (
    _SHOW
    + """
cpu=/sys/devices/system/cpu
show /etc/os-release /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name
show /sys/devices/soc0/machine /sys/devices/soc0/soc_id $cpu/present $cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq
echo "@@ uname"; uname -s; uname -r; uname -m
echo "@@ cpuinfo"; cat /proc/cpuinfo 2>/dev/null
echo "@@ meminfo"; grep MemTotal /proc/meminfo 2>/dev/null
for f in model compatible; do
  if [ -r /proc/device-tree/$f ]; then echo "@@ $f"; tr '\\000' '\\n' </proc/device-tree/$f; echo; fi
done
if has getprop; then echo "@@ getprop"; getprop; fi
if has nvidia-smi; then echo "@@ gpu"; nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null; fi
echo "@@ elf"
for f in "$@"; do "$f" </dev/null >/dev/null 2>&1; echo "$f $?"; done
:
"""
)
