# Subsolar. `make replay` flies a mission on this machine; `make test` installs what the tests need and runs them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= build/replay
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: fit-vehicles package-vehicles bench-zoo-geo-encoder bench-zoo-cab-hl bench-zoo-hybrid-segufomer zoo-table bench-zoo-cm-cr bench-zoo-jspsr bench-zoo-sscdh bench-zoo-acf bench-zoo-acr bench-zoo-sdenet bench-zoo-ssa-net bench-zoo-dwtma-net fit-dehaze venv venv-dev replay test lint wheel-test resolve-jetson bench-sim bench-policy bench-auto bench-export bench-downlink bench-pipeline fuzz-pipeline bench-report screenshot scenes packages pool train fit bench-torture bench-soak bench-daemon fuzz-wire test-offline fuzz-daemon deb deb-test systemd-test sbom clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

venv: $(VENV)/.installed ## .venv with the base distribution and the CPU engine

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -e '.[cpu]'
	touch $@

venv-dev: $(VENV)/.installed-dev ## the same, with what tests, training and export need (torch's CPU build)

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet -e '.[cpu,export,train,sim,dev]'
	touch $@

replay: venv ## fly cubesat-6u for three orbits over the sample scenes; the report lands in build/replay
	$(BIN)/subsolar replay cubesat-6u --orbits 3 --seed 7 --out $(OUT)

test: venv-dev ## the test suite
	$(BIN)/python -m pytest

lint: venv-dev ## ruff, mypy --strict, pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

wheel-test: venv-dev ## build the wheel, install it in a clean environment, fly a short mission from there
	rm -rf build/lib build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip --disable-pip-version-check install --quiet "$$(ls build/wheel/*.whl)[cpu]"
	cd build/wheel && venv/bin/subsolar replay cubesat-6u --orbits 1 --policy dqn --seed 7 --tiles-per-slot 8 \
		--packages ../../deploy/packages --scenes ../../deploy/scenes --out replay --json > summary.json
	$(BIN)/python -c "import json; s = json.load(open('build/wheel/summary.json')); assert s['slots'] > 20 and s['delivered'] > 0, s"

resolve-jetson: venv ## the base must resolve from wheels on Python 3.10 aarch64 (JetPack 6) and 3.12 aarch64 (JetPack 7)
	rm -rf build/jetson && mkdir -p build/jetson
	$(BIN)/python -c "from importlib.metadata import requires; print('\n'.join(r for r in requires('subsolar') if 'extra ==' not in r))" > build/jetson/base.txt
	for v in 3.10 3.12; do $(PIP) install --quiet --dry-run --ignore-installed --target build/jetson/$$v --only-binary=:all: \
		--implementation cp --python-version $$v --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
		--platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 -r build/jetson/base.txt \
		&& echo "base resolves on aarch64, Python $$v" || exit 1; done

# folder of the research data sets, each below its own name: make TARGET DATA=FOLDER
DATA ?= $(or $(SUBSOLAR_DATA),../shared/data)
EUROSAT := $(DATA)/eurosat-rgb-subset
KEY ?= build/keys/subsolar-2026.key.pem
VERSION ?= 3
LEARNED := EuroSAT RGB subset, 6,000 train chips (MIT; modified Copernicus Sentinel data); Helber et al., IEEE JSTARS 12(7), 2019
SHIPS = --licence Apache-2.0 --training-data "$(LEARNED)" --version $(VERSION) --key $(KEY) --replace
KEY ?= build/keys/local.key.pem

scenes: venv ## rebuild the sample scenes from the research data (DATA=folder)
	$(BIN)/python benchmarks/make_scenes.py

fit: venv-dev ## train the pool's three networks on EuroSAT as they ship (about an hour on two cores)
	$(BIN)/subsolar fit resnet18 --data $(EUROSAT) --epochs 40 --precision bf16 --seed 7
	$(BIN)/subsolar fit mobilenet_v2 --data $(EUROSAT) --epochs 60 --lr 0.004 --seed 7 --teacher build/fit/resnet18/best.pt
	$(BIN)/subsolar fit mobilenet_v3_large --data $(EUROSAT) --epochs 48 --lr 0.004 --seed 7 --teacher build/fit/resnet18/best.pt

zoo-table: venv-dev ## docs/zoo.md: every system counted, scored, packaged (TIME=--time times the packages anew)
	$(BIN)/python benchmarks/zoo_table.py $(TIME)

packages: venv-dev ## export, sign and time anew what ships, from `make fit` and `make fit-dehaze` (KEY=private key, VERSION=number; leave the machine alone)
	for n in resnet18 mobilenet_v2 mobilenet_v3_large; do $(BIN)/subsolar export build/fit/$$n/best.pt $(SHIPS) \
		--data $(EUROSAT) --out deploy/packages/eurosat-$$(echo $$n | tr _ -) || exit 1; done
	$(BIN)/subsolar export build/fit/mobilenet_v2/best.pt $(SHIPS) --id eurosat-mobilenet-v2-int8 --precision int8 --target cpu,tensorrt \
		--data $(EUROSAT) --out deploy/packages/eurosat-mobilenet-v2-int8
	$(BIN)/subsolar export build/fit/dwtma-net-eurosat/best.pt --id dehaze-dwtma-edge --version $(VERSION) --key $(KEY) --replace \
		--data $(EUROSAT) --out deploy/packages/dehaze-dwtma-edge
	$(BIN)/subsolar bench --repeats 200 --write --key $(KEY) deploy/packages/eurosat-mobilenet-* deploy/packages/eurosat-resnet18

pool: venv ## rewrite the built-in pool from the shipped packages' measured profiles
	$(BIN)/python benchmarks/make_pool.py

train: venv-dev ## train the policies that ship (a quarter of an hour on two cores)
	$(BIN)/subsolar train universal --out build/train/universal
	for s in cubesat-6u paper; do for p in dqn q-learning policy-gradient; do \
		$(BIN)/subsolar train $$p --scenario $$s --out build/train/$$s-$$p || exit 1; done; done

bench-sim: venv-dev ## slot-steps per CPU-second of the simulator
	$(BIN)/python benchmarks/sim.py

bench-policy: venv-dev ## regret, gains and decision latency of the policies
	$(BIN)/python benchmarks/policy.py

bench-auto: venv-dev ## what auto picks where no card knows the mission, what that gains, what the contest takes (ten minutes)
	$(BIN)/python benchmarks/auto.py

bench-export: venv-dev ## INT8, graph and load speed, flipped bits of the packages (DATA=folder; some ten minutes)
	$(BIN)/python benchmarks/export.py --data $(EUROSAT)

bench-zoo-dwtma-net: venv-dev ## the dehazer: gains on RICE1, ablations, what it is worth to a classifier (DATA=folder)
	$(BIN)/python benchmarks/zoo_dwtma_net.py --data $(DATA)

fit-dehaze: venv-dev ## train the dehazer that ships, on EuroSAT under synthetic haze (a quarter of an hour)
	$(BIN)/subsolar fit dwtma_net --size edge --data $(EUROSAT) --out build/fit/dwtma-net-eurosat --epochs 6 \
		--precision bf16 --threads 1 --batch 16 --seed 1 --set ema_decay=0

fit-vehicles: venv-dev ## train SSCDH on the aerial cars: the vehicle detector that ships (DATA=folder; a quarter of an hour)
	$(BIN)/subsolar fit sscdh --size edge --data $(DATA)/aerial-cars --out build/fit/sscdh-vehicles --epochs 26 --precision bf16 \
		--threads 1 --seed 0 --lr 0.002 --batch 8 --set edge_px=256 --set tile_px=256 --set one_class=vehicle --set flip=0.5 \
		--set turns_deg=[0,90] --set empty_frac=0.3 --set gsd_range_m=[0.04,0.2] --set licence=CC-BY-SA-4.0

CARS := 16 pictures of the aerial cars (jekhor/aerial-cars-dataset): KIT AIS Data Set, CC BY 3.0; videos and photos of Yauhen Kharuzhy and \
	the Minsk OSM community, CC BY-SA; boxes by Yauhen Kharuzhy

package-vehicles: venv-dev ## export and sign the vehicle detector that ships, from `make fit-vehicles` (KEY=private key)
	$(BIN)/subsolar export build/fit/sscdh-vehicles/best.pt --data $(DATA)/aerial-cars --id vehicles-sscdh-edge --version 1 \
		--training-data "$(strip $(CARS))" --key $(KEY) --replace --out deploy/packages/vehicles-sscdh-edge

bench-downlink: venv-dev ## value delivered and bytes spent by the downlink
	$(BIN)/python benchmarks/downlink.py

bench-pipeline: venv-dev ## tiles/s, overhead, merging, memory of the pipeline, beside SAHI
	$(PIP) install --quiet -e '.[bench]'
	$(BIN)/python benchmarks/pipeline.py

bench-zoo-sscdh: venv-dev ## SSCDH on SSDD beside YOLOv5n and CA-CFAR, 3 seeds, ablations (half an hour of one core)
	$(BIN)/python benchmarks/zoo_sscdh.py --data $(DATA)/ssdd-sar-ships

bench-zoo-vmc-detr: venv-dev ## VMC-DETR on aircraft beside RT-DETR-R18, by heart, parity (half an hour of one core)
	$(BIN)/python benchmarks/zoo_vmc_detr.py --data $(DATA)/gdit-aerial-airport

bench-zoo-acf: venv-dev ## text-image retrieval beside a dual encoder and chance, 3 seeds (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_acf.py --data $(DATA)/rsicd-text-image-subset

bench-zoo-acr: venv-dev ## questions about pictures beside the majority answer, 3 seeds (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_acr.py --data $(DATA)/vqa-rsvqa-samples/lr

bench-zoo-cm-cr: venv-dev ## CM-CR on two SEN12MS-CR scenes beside do-nothing, by heart, edge size as a graph (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_cm_cr.py --data $(DATA)/cr-sen12mscr-samples

bench-zoo-geo-encoder: venv-dev ## places without GNSS beside a plain head, SIFT and chance, 3 seeds (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_geo_encoder.py --data $(DATA)

bench-zoo-sdenet: venv-dev ## SDENet fitted to each hyperspectral scene beside RX, 3 seeds (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_sdenet.py --data $(DATA)/had-hyperspectral-anomaly

bench-zoo-jspsr: venv-dev ## JSPSR on LiDAR tiles beside cubic upsampling and a ground filter, 3 seeds (eight minutes of one core)
	$(BIN)/python benchmarks/zoo_jspsr.py --data $(DATA) --overfit

bench-zoo-ssa-net: venv-dev ## SSA-Net on the LEVIR and WHU samples beside differencing, 3 seeds (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_ssa_net.py --data $(DATA)

bench-zoo-cab-hl: venv-dev ## CAB-HL on IDTReeS and Houston2013 pixels beside a kernel machine (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_cab_hl.py --data $(DATA)

bench-zoo-hybrid-segufomer: venv-dev ## Hybrid-SegUFormer on landslides beside U-Net and threshold (ten minutes of one core)
	$(BIN)/python benchmarks/zoo_hybrid_segufomer.py --data $(DATA)

fuzz-pipeline: venv-dev ## broken rasters for MINUTES (10)
	$(BIN)/python benchmarks/fuzz_pipeline.py --minutes $(or $(MINUTES),10)

bench-torture: venv-dev ## kill, cut, fill and delay a mission at every disk call (CC compiles the fault shim)
	$(BIN)/python benchmarks/torture.py

bench-soak: venv-dev ## seven simulated days of the daemon: memory, files, threads, log (R27)
	$(BIN)/python benchmarks/soak.py

bench-daemon: venv-dev ## start to first tile, resident memory, idle CPU of a daemon of its own (three minutes)
	$(BIN)/python benchmarks/daemon.py

fuzz-wire: venv-dev ## CASES (10,000,000) damaged packets and PDUs into everything that reads the link (R23; 15 CPU minutes)
	$(BIN)/python benchmarks/fuzz_wire.py $(or $(CASES),10000000)

test-offline: venv-dev ## the test suite in a network namespace that holds nothing but loopback (R28)
	unshare -rn sh -c 'ip link set lo up && exec $(BIN)/python -m pytest $(TESTS)'

fuzz-daemon: venv-dev ## 1,000 hostile packages, malformed mission files and flipped bits each, every power cut and weight's bit
	SUBSOLAR_FUZZ=1000 $(BIN)/python -m pytest --timeout 1200 tests/runtime/daemon -k "hostile or malformed or power_cut or r05 or r07"

deb: ## build/deb/subsolar_VERSION_ARCH.deb for this machine and PYTHON
	nice -n 19 deploy/debian/build.sh $(PYTHON) build/deb

deb-test: deb ## unpack the .deb into a test root and run what it holds
	rm -rf build/deb/test && mkdir -p build/deb/test && dpkg-deb -x build/deb/*.deb build/deb/test
	sed -i 's#^PYTHONPATH=/opt#PYTHONPATH=$(CURDIR)/build/deb/test/opt#' build/deb/test/usr/bin/subsolar
	SUBSOLAR_PYTHON=$(PYTHON) build/deb/test/usr/bin/subsolar run --check build/deb/test/etc/subsolar/mission.toml \
		--set mission.packages=$(CURDIR)/build/deb/test/usr/share/subsolar/packages \
		--set mission.keys=$(CURDIR)/build/deb/test/etc/subsolar/keys
	if command -v systemd-analyze > /dev/null; then \
		systemd-analyze security --offline=true --threshold=20 --no-pager deploy/systemd/subsolar.service | tail -1; fi

systemd-test: deb ## install the .deb below a systemd of its own and try the unit: sandbox, reload, watchdog (root)
	deploy/systemd/try.sh build/deb/*.deb deploy/scenes/eurosat-test.tif

sbom: venv-dev ## what an installation consists of, and under which licences
	$(BIN)/python benchmarks/sbom.py

bench-report: venv-dev ## size, speed and first picture of the mission replay, and 30 orbit-days a minute
	$(BIN)/python benchmarks/report.py

screenshot: replay ## docs/replay.png: the top of the report of `make replay`, in a headless Chromium
	$(BIN)/python benchmarks/screenshot.py $(OUT)/report.html docs/replay.png

clean: ## remove what the targets made, the environment excepted
	rm -rf build dist *.egg-info
