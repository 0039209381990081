# Stands in for conda's own etc/profile.d/conda.sh: sourced by shells, it makes `conda activate NAME` work.
# shellcheck shell=sh
export CONDA_EXE='@PREFIX@/bin/conda'
export CONDA_PYTHON_EXE='@PREFIX@/bin/python'

__conda_activate() {
  __conda_commands=$("$CONDA_EXE" shell.posix "$@") || return
  eval "$__conda_commands"
  unset __conda_commands
  hash -r
}

conda() {
  case "${1-}" in
    activate | deactivate) __conda_activate "$@" ;;
    *) "$CONDA_EXE" "$@" ;;
  esac
}

if [ -z "${CONDA_SHLVL+x}" ]; then
  export CONDA_SHLVL=0
  export PATH="@PREFIX@/condabin${PATH:+:$PATH}"
fi
