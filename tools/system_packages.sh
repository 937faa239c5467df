# Debian packages of this repository: which are missing, and installing them. Sourced by ./run.
#
# Installing never starts a service: tests and demo run their own broker and database on free ports.
# The venv is made from Debian's own /usr/bin/python3, because an interpreter below somebody's home directory
# cannot be executed by the service accounts (mosquitto, postgres, kiosk) that tests and units use.

DEMO_PACKAGES=(
  python3-venv mosquitto
  python3-dev gcc libc6-dev libpcsclite-dev # pyscard has no Linux wheel
  pcscd vsmartcard-vpcd util-linux iproute2 # card readers: the real service with a virtual reader
  fonts-noto-cjk   # rare characters of patients' names on receipts; the SLA report as PDF
)
TEST_PACKAGES=(
  "${DEMO_PACKAGES[@]}"
  git              # tests/repo reads the tree as git sees it
  mosquitto-clients
  postgresql-15    # the store tests run on SQLite and on PostgreSQL
  chromium         # browser tests
  strace           # crash sweep over durable system calls
  procps
  systemd          # systemd-analyze judges the units; nothing is started
  cups-daemon cups-client cups-filters # a real queue between kiosk and printer
  lrzsz            # judges our YMODEM, both sides
  cups-ipp-utils dbus avahi-daemon # a real IPP printer (ippeveprinter needs the other two) and its judge, ipptool
  nut-server       # a real UPS service
  prometheus prometheus-alertmanager # judge and run our rules and dashboards
)
APT=(apt-get -o DPkg::Lock::Timeout=400 -o Acquire::Retries=3)

# Print the names among "$@" that are not installed, one a line.
missing_packages() {
  local installed package
  installed=" $(dpkg-query -W -f='${db:Status-Abbrev}${Package} ' "$@" 2>/dev/null || true)"
  for package in "$@"; do
    [[ "$installed" == *" ii $package "* ]] || echo "$package"
  done
}

# Run a command as root: directly, or through sudo; 1 when neither is possible.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    return 1
  fi
}

# Install Debian packages without a question and without starting what they bring.
install_packages() {
  local guard=/usr/sbin/policy-rc.d made_guard=0 failed=0 attempt
  as_root true || return 1
  if [[ ! -e $guard ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null && as_root chmod 755 "$guard" && made_guard=1
  fi
  for attempt in 1 2 3 4 5; do # the lock of the package lists knows no timeout of its own
    as_root env DEBIAN_FRONTEND=noninteractive "${APT[@]}" update -q </dev/null && break
    sleep $((attempt * 5))
  done
  as_root env DEBIAN_FRONTEND=noninteractive "${APT[@]}" install -q -y --no-install-recommends "$@" </dev/null || failed=1
  if [[ $made_guard -eq 1 ]]; then as_root rm -f "$guard"; fi
  return $failed
}

# Bring all packages in "$@"; where that is impossible, name the missing ones in one line and fail.
need_packages() {
  local missing
  if ! command -v dpkg-query >/dev/null; then
    note "this is no Debian system; please provide what these packages bring: $*"
    return 0
  fi
  mapfile -t missing < <(missing_packages "$@")
  [[ ${#missing[@]} -eq 0 ]] && return 0
  note "installing ${missing[*]}"
  install_packages "${missing[@]}" && return 0
  mapfile -t missing < <(missing_packages "$@")
  [[ ${#missing[@]} -eq 0 ]] && return 0
  note "missing: run  sudo apt-get install --no-install-recommends ${missing[*]}"
  return 1
}
