// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {SluiceToken} from "../SluiceToken.sol";
import {IERC20Memo} from "../interfaces/IERC20Memo.sol";
import {IERC20Mineable} from "../interfaces/IERC20Mineable.sol";
import {IERC20Mintable} from "../interfaces/IERC20Mintable.sol";
import {IERC20Registrable} from "../interfaces/IERC20Registrable.sol";
import {Vm} from "./Vm.t.sol";

/**
 * @dev What the invariant tests let happen: anybody calls anything with any values, in any order, while roles come and
 * go. Every call's outcome is compared with what the caller was entitled to; whatever should not have happened is
 * written down in `broken`, which the invariants read.
 */
abstract contract Crowd {
    // solhint-disable-next-line const-name-snakecase
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 private constant KEYS = 0xc40d;

    SluiceToken private immutable _token;
    address private immutable _admin;

    address[] private _people;

    /// @dev The first property that did not hold, or nothing.
    string public broken;

    /// @dev The number that the last event should have carried, of those that carry one.
    uint256 public lastSequence;

    /// @dev How many calls succeeded, so that a test can tell that something happens at all.
    uint256 public successes;

    mapping(bytes32 digest => bool) private _paid;
    mapping(address account => bool) private _registered;

    /// @dev An old solution, to be tried again.
    address private _oldBeneficiary;
    uint256 private _oldNonce;

    constructor(SluiceToken token, address admin, uint256 people) {
        _token = token;
        _admin = admin;
        for (uint256 i = 0; i < people; ++i) _people.push(vm.addr(KEYS + i));
        lastSequence = token.sequence();
    }

    function sumOfBalances() external view returns (uint256 sum) {
        for (uint256 i = 0; i < _people.length; ++i) sum += _token.balanceOf(_people[i]);
    }

    function transfer(uint256 from, uint256 to, uint256 amount) external {
        address sender = _person(from);
        _call(sender, abi.encodeCall(_token.transfer, (_person(to), _some(amount, _token.balanceOf(sender)))));
    }

    function transferFrom(uint256 by, uint256 from, uint256 to, uint256 amount) external {
        address owner = _person(from);
        uint256 most = _token.balanceOf(owner);
        bytes memory data = abi.encodeCall(_token.transferFrom, (owner, _person(to), _some(amount, most)));
        _call(_person(by), data);
    }

    function transferWithMemo(uint256 from, uint256 to, uint256 amount, bytes32 memo) external {
        address sender = _person(from);
        amount = _some(amount, _token.balanceOf(sender));
        _call(sender, abi.encodeCall(_token.transferWithMemo, (_person(to), amount, memo)));
    }

    function approve(uint256 from, uint256 to, uint256 amount) external {
        _call(_person(from), abi.encodeCall(_token.approve, (_person(to), amount)));
    }

    function permit(uint256 by, uint256 from, uint256 to, uint256 amount) external {
        address owner = _person(from);
        bytes32 typehash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        (uint8 v, bytes32 r, bytes32 s) = _sign(
            from,
            keccak256(abi.encode(typehash, owner, _person(to), amount, _token.nonces(owner), block.timestamp))
        );
        _call(_person(by), abi.encodeCall(_token.permit, (owner, _person(to), amount, block.timestamp, v, r, s)));
    }

    function register(uint256 who) external {
        address account = _person(who);
        if (_call(account, abi.encodeCall(_token.register, ("somebody")))) _registerOnce(account);
    }

    function registerFor(uint256 by, uint256 who) external {
        address account = _person(who);
        bytes32 typehash = keccak256("Registration(address account,string name,uint256 nonce,uint256 deadline)");
        bytes32 name = keccak256("somebody");
        (uint8 v, bytes32 r, bytes32 s) = _sign(
            who,
            keccak256(abi.encode(typehash, account, name, _token.nonces(account), block.timestamp))
        );
        bytes memory data = abi.encodeCall(
            _token.registerFor,
            (account, "somebody", block.timestamp, abi.encodePacked(r, s, v))
        );
        if (_call(_person(by), data)) _registerOnce(account);
    }

    function mint(uint256 by, uint256 to, uint256 amount) external {
        address minter = _person(by);
        amount = _some(amount, _token.mintableBy(minter) + 1);
        uint256 available = _token.mintableBy(minter);
        if (_call(minter, abi.encodeCall(_token.mint, (_person(to), amount, "")))) {
            _require(_token.hasRole(_token.MINTER_ROLE(), minter), "minted without the role");
            _require(amount <= available, "minted more than the period left");
            _require(_token.mintableBy(minter) == available - amount, "a mint was not counted");
        }
    }

    function mintBatch(uint256 by, uint256 to, uint256 amount, uint256 size) external {
        address minter = _person(by);
        address[] memory recipients = new address[](size % 4);
        uint256[] memory amounts = new uint256[](size % 4);
        uint256 available = _token.mintableBy(minter);
        for (uint256 i = 0; i < recipients.length; ++i) {
            (recipients[i], amounts[i]) = (
                _person(uint256(keccak256(abi.encode(to, i)))),
                _some(amount, available / 2)
            );
        }
        if (_call(minter, abi.encodeCall(_token.mintBatch, (recipients, amounts, "")))) {
            _require(_token.hasRole(_token.MINTER_ROLE(), minter), "minted a batch without the role");
            uint256 total = recipients.length * amounts[0];
            _require(_token.mintableBy(minter) == available - total, "a batch was not counted");
        }
    }

    function mine(uint256 by, uint256 forWhom, uint256 start) external {
        address beneficiary = _person(forWhom);
        uint256 nonce = start % 2 ** 128;
        while (uint256(_token.digestOf(beneficiary, nonce)) > _token.target()) ++nonce;
        if (_submit(_person(by), beneficiary, nonce)) (_oldBeneficiary, _oldNonce) = (beneficiary, nonce);
    }

    function guess(uint256 by, uint256 forWhom, uint256 nonce) external {
        _submit(_person(by), _person(forWhom), nonce);
    }

    function mineAgain(uint256 by, bool forMyself) external {
        address caller = _person(by);
        _submit(caller, forMyself ? caller : _oldBeneficiary, _oldNonce);
    }

    function pause(uint256 by) external {
        address caller = _person(by);
        if (_callAnyTime(caller, abi.encodeCall(_token.pause, ()))) {
            _require(_token.hasRole(_token.PAUSER_ROLE(), caller), "paused without the role");
        }
    }

    function unpause(uint256 by) external {
        address caller = _person(by);
        if (_callAnyTime(caller, abi.encodeCall(_token.unpause, ()))) {
            _require(_token.hasRole(_token.UNPAUSER_ROLE(), caller), "unpaused without the role");
        }
    }

    /// @dev Somebody with the role, so that a random sequence does not stay paused for most of its calls.
    function unpauseRightly() external {
        for (uint256 i = 0; i < _people.length && _token.paused(); ++i) {
            if (_token.hasRole(_token.UNPAUSER_ROLE(), _people[i])) {
                _callAnyTime(_people[i], abi.encodeCall(_token.unpause, ()));
            }
        }
    }

    function giveRole(uint256 by, uint256 who, uint256 which, bool rightly) external {
        address caller = rightly ? _admin : _person(by);
        if (_callAnyTime(caller, abi.encodeCall(_token.grantRole, (_role(which), _person(who))))) {
            _require(caller == _admin, "gave a role without administering");
        }
    }

    function takeRole(uint256 by, uint256 who, uint256 which, bool rightly) external {
        address caller = rightly ? _admin : _person(by);
        if (_callAnyTime(caller, abi.encodeCall(_token.revokeRole, (_role(which), _person(who))))) {
            _require(caller == _admin, "took a role without administering");
        }
    }

    function setMintLimit(uint256 by, uint256 who, uint256 limit, bool rightly) external {
        address caller = rightly ? _admin : _person(by);
        limit = _some(limit, _token.cap() / 4);
        if (_callAnyTime(caller, abi.encodeCall(_token.setMintLimit, (_person(who), limit)))) {
            _require(caller == _admin, "set a limit without administering");
        }
    }

    function wait(uint256 time) external {
        vm.warp(block.timestamp + (time % 12 hours));
        vm.roll(block.number + (time % 12));
    }

    function _submit(address caller, address beneficiary, uint256 nonce) private returns (bool success) {
        bytes32 digest = _token.digestOf(beneficiary, nonce);
        uint256 target = _token.target();
        uint256 reward = _token.reward();
        uint256 before = _token.balanceOf(beneficiary);
        success = _call(caller, abi.encodeCall(_token.mine, (beneficiary, nonce)));
        if (!success) return false;
        _require(uint256(digest) <= target, "paid for too little work");
        _require(!_paid[digest], "a digest was paid twice");
        _require(_token.balanceOf(beneficiary) == before + reward, "paid another reward");
        _paid[digest] = true;
    }

    /// @dev A call that must fail while paused.
    function _call(address caller, bytes memory data) private returns (bool success) {
        bool paused = _token.paused();
        uint256 supply = _token.totalSupply();
        success = _callAnyTime(caller, data);
        if (paused) _require(!success && _token.totalSupply() == supply, "something moved while paused");
    }

    function _callAnyTime(address caller, bytes memory data) private returns (bool success) {
        vm.recordLogs();
        vm.prank(caller);
        // solhint-disable-next-line avoid-low-level-calls
        (success, ) = address(_token).call(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        // What is recorded before a revert never happened.
        if (!success) return false;
        _followSequence(logs);
        ++successes;
    }

    function _followSequence(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            uint256 position = _positionOfSequence(logs[i].topics[0]);
            if (position == 0) continue;
            bytes memory data = logs[i].data;
            uint256 sequence;
            assembly ("memory-safe") {
                sequence := mload(add(data, mul(position, 32)))
            }
            _require(sequence == ++lastSequence, "the sequence has a gap");
        }
    }

    /// @dev Which word of an event's data is its number, counted from 1; 0 for an event that carries none.
    function _positionOfSequence(bytes32 signature) private pure returns (uint256) {
        if (signature == IERC20Registrable.Registered.selector) return 3;
        if (signature == IERC20Mintable.Minted.selector) return 3;
        if (signature == IERC20Mintable.MintLimitChanged.selector) return 2;
        if (signature == IERC20Mineable.Mined.selector) return 5;
        if (signature == IERC20Mineable.Retargeted.selector) return 2;
        if (signature == IERC20Memo.TransferWithMemo.selector) return 3;
        return 0;
    }

    function _registerOnce(address account) private {
        _require(!_registered[account], "registered twice");
        _registered[account] = true;
    }

    function _require(bool holds, string memory property) private {
        if (!holds && bytes(broken).length == 0) broken = property;
    }

    function _sign(uint256 who, bytes32 structHash) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", _token.DOMAIN_SEPARATOR(), structHash));
        return vm.sign(KEYS + (who % _people.length), digest);
    }

    function _person(uint256 who) private view returns (address) {
        return _people[who % _people.length];
    }

    function _role(uint256 which) private view returns (bytes32) {
        bytes32[3] memory roles = [_token.MINTER_ROLE(), _token.PAUSER_ROLE(), _token.UNPAUSER_ROLE()];
        return roles[which % 3];
    }

    /// @dev Mostly from 0 to `most`, sometimes anything, so that both what succeeds and what fails is tried.
    function _some(uint256 value, uint256 most) private pure returns (uint256) {
        return value % 16 == 0 ? value : value % (most + 1);
    }
}
